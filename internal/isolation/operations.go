package isolation

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// worker does one operation for one tenant.
type worker struct {
	*run
	*home
	ctx    context.Context
	random *rand.Rand
	rows   int64 // inserted by this operation
}

// operations are equally likely. Each returns the first error that it met.
var operations = []func(*worker) error{
	(*worker).list, (*worker).list, (*worker).first, (*worker).foreign, (*worker).where,
	(*worker).insert, (*worker).update, (*worker).prepared, (*worker).rowsHalfRead,
	(*worker).commit, (*worker).fail, (*worker).panics, (*worker).savepoint, (*worker).pinned,
}

// errWanted is what a transaction fails with on purpose.
var errWanted = errors.New("rolled back on purpose")

func (w *worker) db() *gorm.DB { return w.DB.WithContext(w.ctx) }

// sent counts a statement.
func (w *worker) sent() { w.statements.Add(1) }

// check looks at rows that a statement has returned.
func (w *worker) check(rows ...Entry) {
	for _, row := range rows {
		if row.Tenant != w.Tenant.String() {
			w.leak("%s was shown a row of %q", w.Tenant, row.Tenant)
		}
	}
}

func (w *worker) listBy(db *gorm.DB) error {
	var rows []Entry
	w.sent()
	err := db.Order("id").Limit(20).Find(&rows).Error
	if err != nil { // GORM may have made a row that it could not fill
		rows = slices.DeleteFunc(rows, func(row Entry) bool { return row.Tenant == "" })
	}
	w.check(rows...) // also those that come with an error
	if err == nil && len(rows) < seedRows {
		w.leak("%s was shown %d rows, it has %d at least", w.Tenant, len(rows), seedRows)
	}
	return err
}

func (w *worker) list() error { return w.listBy(w.db()) }

func (w *worker) prepared() error {
	return w.listBy(w.db().Session(&gorm.Session{PrepareStmt: true}))
}

func (w *worker) first() error {
	var row Entry
	w.sent()
	err := w.db().First(&row, 1+w.random.IntN(seedRows)).Error
	if err == nil || row.Tenant != "" {
		w.check(row)
	}
	return err
}

// foreign counts what must not be there.
func (w *worker) foreign() error {
	var n int64
	w.sent()
	err := w.db().Model(&Entry{}).Where("tenant <> ?", w.Tenant.String()).Count(&n).Error
	if n > 0 {
		w.leak("%s counted %d foreign rows", w.Tenant, n)
	}
	return err
}

// where asks the server itself.
func (w *worker) where() error {
	var at struct{ Database, Schema string }
	w.sent()
	err := w.db().Raw("select current_database() as database, current_schema() as schema").Scan(&at).Error
	if err == nil && (at.Database != w.database || at.Schema != w.Schema) {
		w.leak("%s works in schema %q of database %q", w.Tenant, at.Schema, at.Database)
	}
	return err
}

func (w *worker) insertBy(db *gorm.DB) error {
	w.sent()
	w.rows++
	// []byte is bytea in one half of the places and text in the other
	return db.Create(&Entry{Tenant: w.Tenant.String(), Note: []byte("note")}).Error
}

func (w *worker) insert() error {
	err := w.insertBy(w.db())
	w.book(err)
	return err
}

// update changes what is not its own, if it can see any.
func (w *worker) update() error {
	w.sent()
	res := w.db().Model(&Entry{}).Where("tenant <> ?", w.Tenant.String()).Update("n", gorm.Expr("n + 1"))
	if res.RowsAffected > 0 {
		w.leak("%s changed %d foreign rows", w.Tenant, res.RowsAffected)
	}
	if res.Error != nil {
		return res.Error
	}
	w.sent()
	return w.db().Exec("update entries set n = n + 1 where id = ?", 1+w.random.IntN(seedRows)).Error
}

func (w *worker) rowsHalfRead() error {
	w.sent()
	rows, err := w.db().Model(&Entry{}).Select("tenant").Rows()
	if err != nil {
		return err
	}
	for range 3 {
		var row Entry
		if !rows.Next() {
			break
		}
		if err := rows.Scan(&row.Tenant); err != nil {
			return errors.Join(err, rows.Close())
		}
		w.check(row)
	}
	return errors.Join(rows.Err(), rows.Close())
}

// body is what transactions do.
func (w *worker) body(tx *gorm.DB) error {
	if err := w.insertBy(tx); err != nil {
		return err
	}
	return w.listBy(tx)
}

func (w *worker) commit() error {
	err := w.db().Transaction(w.body)
	w.book(err)
	return err
}

func (w *worker) fail() error {
	err := w.db().Transaction(func(tx *gorm.DB) error {
		return errors.Join(w.body(tx), errWanted)
	})
	return withoutWanted(err)
}

func (w *worker) panics() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err, _ = p.(error)
			err = withoutWanted(err)
		}
	}()
	return w.db().Transaction(func(tx *gorm.DB) error {
		panic(errors.Join(w.body(tx), errWanted))
	})
}

func (w *worker) savepoint() error {
	err := w.db().Transaction(func(tx *gorm.DB) error {
		if err := w.body(tx); err != nil {
			return err
		}
		err := tx.Transaction(func(inner *gorm.DB) error {
			return errors.Join(w.insertBy(inner), w.listBy(inner), errWanted)
		})
		w.rows-- // the inner one is rolled back
		if err := withoutWanted(err); err != nil {
			return err
		}
		return w.listBy(tx)
	})
	w.book(err)
	return err
}

// pinned keeps one connection over several statements, also for the next tenant.
func (w *worker) pinned() error {
	return w.db().Connection(func(tx *gorm.DB) error {
		if err := errors.Join(w.listBy(tx), w.listBy(tx)); err != nil {
			return err
		}
		other := &worker{run: w.run, home: w.homes[w.random.IntN(len(w.homes))], random: w.random}
		return other.listBy(tx.WithContext(scope.With(w.ctx, other.Tenant)))
	})
}

// withoutWanted returns what else went wrong than what was meant to.
func withoutWanted(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if !errors.Is(e, errWanted) {
				return e
			}
		}
		return nil
	}
	if errors.Is(err, errWanted) {
		return nil
	}
	return err
}

// book writes down what an operation has inserted.
func (w *worker) book(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.written.sure += w.rows
	} else {
		w.written.unsure += w.rows
	}
}
