package doctor

// IDs returns the ids of all findings that there are, in alphabetical order. They
// stay as they are between versions; there may come to be more.
func IDs() []string {
	return []string{
		"base-path",
		"catalog-notifications",
		"catalog-rights",
		"connections",
		"dump-locks",
		"foreign-pool",
		"foreign-trigger",
		"large-objects",
		"login-bypassrls",
		"login-createrole",
		"login-superuser",
		"one-login",
		"orphan",
		"pooler",
		"pooler-transactions",
		"public-create",
		"public-tables",
		"replaced-callback",
		"server-version",
		"serving-role",
		"shadowed-table",
		"shared-routine",
		"tenant-database-rights",
		"tenant-extension",
		"tenant-locks",
		"tenant-lost",
		"tenant-role",
		"tenant-schema-rights",
		"tenant-unfinished",
		"tenant-unreachable",
		"trusted-callback",
		"twin-table",
	}
}
