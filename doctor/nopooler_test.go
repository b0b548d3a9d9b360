//go:build !integration

package doctor_test

// behindPooler returns the ids that only the tests with PgBouncer can plant.
func behindPooler() []string {
	return []string{"catalog-notifications", "pooler", "pooler-transactions"}
}
