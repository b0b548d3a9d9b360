package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/scope"
)

// undoLimit bounds the undoing of what could not be finished, which goes on when
// the caller's context has ended.
const undoLimit = 30 * time.Second

// Create signs a tenant up: it enters the tenant into the catalog, makes its
// schema or database, its role and its tables, and makes it active. When Create
// returns without an error, the next request on one of the tenant's hosts is
// served.
//
// What can't be accepted is an *InputError that matches [ErrInvalid],
// [ErrReserved] or [ErrTaken], or it is [ErrNoRoom]; then nothing was changed. If the
// making fails, or ctx ends meanwhile, what was made is undone, and the tenant stays
// in the catalog as [Failed], with the reason: [Catalog.Repair] tries again,
// [Catalog.Drop] takes it out. Of several calls for one id or host exactly one
// gets it.
func (c *Catalog) Create(ctx context.Context, n New) (Tenant, error) {
	row, err := c.draft(n)
	if err != nil {
		return Tenant{}, err
	}
	if c.wantsSpare(row) {
		switch done, err := c.createAtOnce(ctx, n, row); {
		case err != nil:
			return Tenant{}, err
		case done:
			return row.public(), nil
		}
	}
	var tenant Tenant
	begun := false
	err = c.alone(ctx, row.id(), func(ctx context.Context) error {
		begun = true
		down, err := c.unreachable(ctx, n)
		if err != nil {
			return err
		}
		if err := c.reserve(ctx, n, down, row); err != nil {
			return c.orFailed(ctx, row, err)
		}
		tenant, err = c.provision(ctx, row)
		return err
	})
	if !begun && errors.Is(err, ErrBusy) { // another call has the id already
		err = taken(row)
	}
	return tenant, err
}

// taken says that another tenant has the id.
func taken(row *tenantRow) error { return &InputError{Field: "id", Value: row.ID, Err: ErrTaken} }

// orFailed adds to err that the tenant whose id is taken has failed, if it has.
func (c *Catalog) orFailed(ctx context.Context, row *tenantRow, err error) error {
	var input *InputError
	if !errors.As(err, &input) || input.Field != "id" {
		return err
	}
	if last, unknown := c.row(ctx, row.id()); unknown == nil && last.State == Failed {
		return errors.Join(err, &StateError{Tenant: row.id(), State: Failed, Op: "create"})
	}
	return err
}

// reserve enters the row, with all names that will be made under it, before
// anything is made: whoever finds what a crash has left knows whose it is.
func (c *Catalog) reserve(ctx context.Context, n New, down serverSet, row *tenantRow) error {
	err := c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		server, err := c.serverFor(ctx, tx, n, down)
		if err != nil {
			return err
		}
		at := now()
		row.CreatedAt, row.UpdatedAt = at, at
		if err := c.findPlace(ctx, tx, row, server); err != nil {
			return err
		}
		if err := tx.Omit(clause.Associations).Create(row).Error; err != nil {
			return err
		}
		return tx.Create(&row.Hosts).Error // as an association they would replace another tenant's
	})
	if err == nil {
		c.step(row, "reserved")
	}
	return describeViolation(err, "create", row.ID)
}

// findPlace gives the row a place on the server: a spare if there is one, else names
// under which everything will be made.
func (c *Catalog) findPlace(ctx context.Context, tx *gorm.DB, row *tenantRow, server serverRow) error {
	if found, err := c.takeSpare(ctx, tx, row, server); err != nil || found {
		return err
	}
	row.settle(server, newName(row.ID), c.roles)
	if err := c.sealPassword(ctx, row); err != nil || row.Kind == OwnSchema {
		return err
	}
	return insertDatabase(tx, row.Cluster, row.Database, OwnDatabase)
}

func (c *Catalog) sealPassword(ctx context.Context, row *tenantRow) (err error) {
	if row.Kind == OwnDatabase {
		row.Password, err = c.ring.seal(ctx, row.purpose(), newPassword())
	}
	return err
}

// provision makes what the row says and makes the tenant active. The caller is
// alone at work on the tenant. If it fails, everything is undone.
func (c *Catalog) provision(ctx context.Context, row *tenantRow) (Tenant, error) {
	if row.taken != "" {
		c.stir()
	}
	err := c.build(ctx, row)
	if err == nil {
		c.step(row, "place made")
		err = c.activate(ctx, row)
	}
	if err != nil {
		err = c.giveUp(ctx, row, err)
	}
	if err != nil {
		return Tenant{}, err
	}
	c.step(row, "active")
	return row.public(), nil
}

// activate makes the tenant routable.
func (c *Catalog) activate(ctx context.Context, row *tenantRow) error {
	at := now()
	moved, err := c.move(ctx, row, Provisioning, map[string]any{"state": Active, "failure": "", "activated_at": at, "updated_at": at})
	if err == nil && !moved {
		err = errors.New("another call has changed the tenant's state meanwhile")
	}
	if err == nil {
		row.State, row.Failure, row.ActivatedAt, row.UpdatedAt = Active, "", &at, at
	}
	return err
}

// now is the time as PostgreSQL can store it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// move changes the tenant's row if it is in the state from, and reports whether
// it was.
func (c *Catalog) move(ctx context.Context, row *tenantRow, from State, changes map[string]any) (moved bool, err error) {
	if changes["updated_at"] == nil {
		changes["updated_at"] = now()
	}
	rows := c.db.WithContext(ctx).Model(&tenantRow{}).Where("id = ? and state = ?", row.ID, from)
	if row.Schema != "" { // and not those of a later tenant of the same id
		rows = rows.Where("database = ? and schema = ?", row.Database, row.Schema)
	}
	res := rows.Updates(changes)
	c.cache.forget(row.id())
	return res.RowsAffected > 0, res.Error
}

// giveUp writes down why the tenant could not be made, undoes what was made, and
// returns the error of the call. If it can't be written down, nothing is undone:
// the tenant may have become active in spite of the error, and Repair will see. If
// it turns out that it has, because only the answer to the last step was lost, the
// error is none.
func (c *Catalog) giveUp(ctx context.Context, row *tenantRow, cause error) error {
	if ended := context.Cause(ctx); ended != nil && !errors.Is(cause, ended) {
		cause = errors.Join(ended, cause) // database/sql only says that the transaction is over
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	failed, err := c.move(ctx, row, Provisioning, map[string]any{"state": Failed, "failure": storable(cause)})
	switch {
	case err != nil:
		cause = errors.Join(cause, fmt.Errorf("and that could not be written down: %w", err))
	case failed:
		c.step(row, "failed")
		cause = errors.Join(cause, c.undo(ctx, row, cause))
	default:
		if last, err := c.row(ctx, row.id()); err == nil && last.State == Active {
			return nil
		}
	}
	return &scope.TenantError{Op: "create", Tenant: row.id(), Err: cause}
}

// undo drops what was made of a failed tenant.
func (c *Catalog) undo(ctx context.Context, row *tenantRow, cause error) error {
	if row.ActivatedAt != nil { // it was served once: its data is not ours to drop
		return nil
	}
	err := c.demolish(ctx, row, Failed)
	if err == nil {
		c.step(row, "undone")
		return nil
	}
	err = fmt.Errorf("and what was made could not be undone: %w", err)
	c.logger.Warn("catalog: a failed tenant has left something behind: repair or drop it", slog.String("tenant", row.ID), slog.Any("error", err))
	_, noted := c.move(ctx, row, Failed, map[string]any{"failure": storable(errors.Join(cause, err))})
	return errors.Join(err, noted)
}

// storable returns the text of err as PostgreSQL can store it: a panic of a
// migration may hold anything.
func storable(err error) string {
	return strings.ReplaceAll(strings.ToValidUTF8(err.Error(), "?"), "\x00", "?")
}

// step tells, at debug level, how far the work on a tenant or a spare is.
func (c *Catalog) step(row *tenantRow, what string) {
	if row.spare {
		c.logger.Debug("catalog: spare: "+what, slog.String("spare", row.ID))
		return
	}
	c.logger.Debug("catalog: "+what, slog.String("tenant", row.ID))
}
