package cli

import (
	"cmp"
	"crypto/tls"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/driver"
)

// environment returns this process's environment with the tenant's connection in
// place of any other ("Environment Variables" in PostgreSQL's manual, chapter
// libpq).
func environment(c *pgx.ConnConfig, settings []driver.Setting) []string {
	hosts, ports := addresses(c)
	set := map[string]string{
		"PGHOST":     hosts,
		"PGPORT":     ports,
		"PGUSER":     c.User,
		"PGDATABASE": cmp.Or(c.Database, c.User),
		"PGPASSWORD": c.Password,
		"PGAPPNAME":  c.RuntimeParams["application_name"],
		"PGOPTIONS":  startOptions(c.RuntimeParams, settings),
		"PGSSLMODE":  sslMode(c),
		// These would lead elsewhere, or weaken what is set here.
		"PGHOSTADDR": "", "PGSERVICE": "", "PGSERVICEFILE": "", "PGREQUIRESSL": "", "PGTZ": "",
	}
	given := keywords(c.ConnString())
	for keyword, variable := range passedOn() {
		if value := given[keyword]; value != "" {
			set[variable] = value
		}
	}
	return replace(os.Environ(), set)
}

// passedOn are the keywords of a connection string that pgx does not keep, or not
// in a form that psql could take.
func passedOn() map[string]string {
	return map[string]string{
		"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslcertmode": "PGSSLCERTMODE",
		"sslsni": "PGSSLSNI", "sslnegotiation": "PGSSLNEGOTIATION",
		"channel_binding": "PGCHANNELBINDING", "require_auth": "PGREQUIREAUTH", "krbsrvname": "PGKRBSRVNAME",
		"connect_timeout": "PGCONNECT_TIMEOUT", "target_session_attrs": "PGTARGETSESSIONATTRS",
	}
}

// replace returns env with the variables set, and without those that are set to
// nothing.
func replace(env []string, set map[string]string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		_, replaced := set[name]
		return replaced
	})
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] != "" {
			env = append(env, name+"="+set[name])
		}
	}
	return env
}

// addresses returns the hosts and ports that pgx would try, in order, as libpq
// wants them. pgx lists a host twice where it would try with and without TLS.
func addresses(c *pgx.ConnConfig) (hosts, ports string) {
	type address struct {
		host string
		port uint16
	}
	all := []address{{c.Host, c.Port}}
	for _, f := range c.Fallbacks {
		if a := (address{f.Host, f.Port}); !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for i, a := range all {
		if i > 0 {
			hosts, ports = hosts+",", ports+","
		}
		hosts, ports = hosts+a.host, ports+strconv.Itoa(int(a.port))
	}
	return hosts, ports
}

// startOptions returns the command line options of the session: those of the
// connection string, and the tenant's settings behind them, which count more.
func startOptions(params map[string]string, settings []driver.Setting) string {
	var options []string
	if given := params["options"]; given != "" {
		options = append(options, given)
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		switch name {
		case "options", "application_name", "search_path", "client_encoding": // psql has its own ways for these
		default:
			options = append(options, option(name, params[name]))
		}
	}
	for _, s := range settings {
		options = append(options, option(s.Name, s.Value))
	}
	return strings.Join(options, " ")
}

// option writes a setting. The server splits options at white space that has no
// backslash in front of it.
func option(name, value string) string {
	escaped := strings.NewReplacer(`\`, `\\`, " ", `\ `, "\t", "\\\t", "\n", "\\\n", "\r", "\\\r", "\v", "\\\v", "\f", "\\\f")
	return "-c " + name + "=" + escaped.Replace(value)
}

// sslMode returns the mode that is as strict as c, or stricter: what pgx can be
// told and libpq can't, such as a verification of the application's own, counts as
// verify-full. Which server is trusted is then up to psql's root certificates.
func sslMode(c *pgx.ConnConfig) string {
	configs := tlsConfigs(c)
	strictest := ""
	for _, config := range configs {
		strictest = max(strictest, verification(config))
	}
	switch {
	case len(configs) == 0:
		return "" // nothing to encrypt
	case strictest == "":
		return "disable"
	case configs[0] == nil:
		return "allow"
	case slices.Contains(configs, nil):
		return "prefer"
	}
	return strictest
}

// tlsConfigs returns how pgx would try to connect, in order. A socket has no TLS,
// with libpq neither, whatever the mode.
func tlsConfigs(c *pgx.ConnConfig) (configs []*tls.Config) {
	if !isSocket(c.Host) {
		configs = append(configs, c.TLSConfig)
	}
	for _, f := range c.Fallbacks {
		if !isSocket(f.Host) {
			configs = append(configs, f.TLSConfig)
		}
	}
	return configs
}

func isSocket(host string) bool { return strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") }

// verification returns the mode in which libpq verifies as much: later ones in the
// alphabet are stricter.
func verification(config *tls.Config) string {
	switch {
	case config == nil:
		return ""
	case !config.InsecureSkipVerify || config.VerifyConnection != nil:
		return "verify-full"
	case config.VerifyPeerCertificate != nil:
		return "verify-ca"
	}
	return "require"
}
