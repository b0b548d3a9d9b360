package pgcatalog_test

import (
	"fmt"
	"testing"
)

// TestChangesAreTheDrivers makes tables become other tables by AutoMigrate, and
// again, where nothing more should be to do. What GORM does never settle, it must
// do in the same way.
func TestChangesAreTheDrivers(t *testing.T) {
	t.Parallel()
	driver, ours := bothSides(t, createTypes)
	for i, c := range changes() {
		t.Run(c.name, func(t *testing.T) {
			table := fmt.Sprint("t", i)
			for step, value := range []any{c.before, c.after, c.after, c.before} {
				driverErr, oursErr := driver.db.Table(table).AutoMigrate(value), ours.db.Table(table).AutoMigrate(value)
				if fmt.Sprint(driverErr) != fmt.Sprint(oursErr) {
					t.Errorf("%T: the driver's error is %v, ours is %v", value, driverErr, oursErr)
				}
				mustMatch(t, fmt.Sprintf("%T", value), driver.recorded.take(), ours.recorded.take())
				if step == 0 {
					insert := "insert into " + table + " (v) values (" + c.row + ")"
					mustExec(t, driver.pool, insert)
					mustExec(t, ours.pool, insert)
				}
			}
		})
	}
	mustMatch(t, "the tables", driver.tables(t), ours.tables(t))
}

// TestEveryColumnAltered changes each column by itself, which AutoMigrate does
// only where it sees a difference.
func TestEveryColumnAltered(t *testing.T) {
	t.Parallel()
	driver, ours := bothSides(t, createTypes)
	for _, s := range []side{driver, ours} {
		if err := s.db.AutoMigrate(models()...); err != nil {
			t.Fatal(err)
		}
		s.recorded.take()
	}
	for _, value := range models() {
		for _, field := range fieldsOf(t, value) {
			driverErr, oursErr := driver.db.Migrator().AlterColumn(value, field), ours.db.Migrator().AlterColumn(value, field)
			if (driverErr == nil) != (oursErr == nil) {
				t.Errorf("%T.%s: the driver's error is %v, ours is %v", value, field, driverErr, oursErr)
			}
			mustMatch(t, fmt.Sprintf("%T.%s", value, field), driver.recorded.take(), ours.recorded.take())
		}
	}
	mustMatch(t, "the tables", driver.tables(t), ours.tables(t))
}

func fieldsOf(t testing.TB, value any) (names []string) {
	t.Helper()
	for _, f := range parse(t, value).Fields {
		names = append(names, f.Name)
	}
	return append(names, "absent")
}
