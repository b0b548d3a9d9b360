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
		"login-bypassrls",
		"login-createrole",
		"login-superuser",
		"orphan",
		"pooler",
		"pooler-transactions",
		"public-create",
		"public-tables",
		"replaced-callback",
		"server-version",
		"shadowed-table",
		"tenant-database-rights",
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
