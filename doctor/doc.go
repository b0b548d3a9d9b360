// Package doctor examines a service the way it runs: it connects as the
// application does, measures, and says what it has found, why that matters and how
// to mend it.
//
//	findings, err := doctor.Examine(ctx, db, doctor.WithCatalog(tenants))
//
// It changes nothing, and looks at tables' names, never at their rows.
package doctor
