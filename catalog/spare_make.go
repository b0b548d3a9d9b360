package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
)

// spareAge is how long a spare is kept that this process has no use for: while a new
// version rolls out, processes of the old one may.
const spareAge = time.Hour

// makeSpare makes a spare: its row first, as for a tenant. The caller is alone at work
// on the server's spares. If it fails, everything is undone.
func (c *Catalog) makeSpare(ctx context.Context, server serverRow, kind Kind) error {
	row, err := c.reserveSpare(ctx, server, kind)
	if err != nil {
		return err
	}
	c.step(row, "reserved")
	if err = c.build(ctx, row); err == nil {
		c.step(row, "place made")
		err = c.moveSpare(ctx, row, spareBuilding, spareReady)
	}
	if err == nil {
		c.step(row, "ready")
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	return errors.Join(err, c.dropSpare(ctx, row, spareBuilding))
}

func (c *Catalog) reserveSpare(ctx context.Context, server serverRow, kind Kind) (*tenantRow, error) {
	name := newSpareName()
	row := &tenantRow{ID: name, Kind: kind, spare: true}
	row.settle(server, name, c.roles)
	if err := c.sealPassword(ctx, row); err != nil {
		return nil, err
	}
	spare := spareRow{
		Name: name, State: spareBuilding, Kind: kind, ServerName: server.Name,
		Cluster: row.Cluster, Database: row.Database, Schema: row.Schema, Role: row.Role,
		Password: row.Password, Fingerprint: c.spareFingerprint(&server), CreatedAt: now(),
	}
	return row, c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if kind == OwnDatabase {
			if err := insertDatabase(tx, row.Cluster, row.Database, OwnDatabase); err != nil {
				return err
			}
		}
		return tx.Omit("Server").Create(&spare).Error
	})
}

// errSpareGone says that a spare is not in the state in which it was: somebody has
// taken or dropped it.
var errSpareGone = errors.New("somebody else has taken or dropped the spare meanwhile")

func (c *Catalog) moveSpare(ctx context.Context, row *tenantRow, from, to spareState) error {
	res := c.db.WithContext(ctx).Model(&spareRow{}).Where("name = ? and state = ?", row.ID, from).Update("state", to)
	if res.Error == nil && res.RowsAffected == 0 {
		return errSpareGone
	}
	return res.Error
}

// mustBe returns an error unless the spare is in that state.
func (c *Catalog) mustBe(ctx context.Context, row *tenantRow, state spareState) error {
	var n int64
	err := c.db.WithContext(ctx).Model(&spareRow{}).Where("name = ? and state = ?", row.ID, state).Count(&n).Error
	if err == nil && n == 0 {
		err = errSpareGone
	}
	return err
}

// dropSpare drops a spare in that state. One that is no longer in it is left alone.
func (c *Catalog) dropSpare(ctx context.Context, row *tenantRow, from spareState) error {
	err := c.moveSpare(ctx, row, from, spareDropping)
	if errors.Is(err, errSpareGone) {
		return nil
	}
	if err == nil {
		c.step(row, "dropping")
		err = c.demolish(ctx, row, Deleting)
	}
	if err == nil {
		c.step(row, "place dropped")
		err = c.eraseSpare(ctx, row)
	}
	if err != nil {
		return fmt.Errorf("drop spare %q: %w", row.ID, err)
	}
	c.step(row, "dropped")
	if row.Kind == OwnDatabase {
		return c.dropLastTemplate(ctx, row)
	}
	return nil
}

func (c *Catalog) eraseSpare(ctx context.Context, row *tenantRow) error {
	return c.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		res := tx.Delete(&spareRow{}, "name = ? and state = ?", row.ID, spareDropping)
		if res.Error != nil || res.RowsAffected == 0 || row.Kind == OwnSchema {
			return res.Error
		}
		return tx.Delete(&databaseRow{}, "cluster = ? and name = ?", row.Cluster, row.Database).Error
	})
}

// dropSpares drops those spares on a server that unwanted selects. The caller is alone
// at work on them. One that can't be dropped does not keep the others.
func (c *Catalog) dropSpares(ctx context.Context, server string, unwanted func([]spareRow) []spareRow) error {
	var spares []spareRow
	err := c.db.WithContext(ctx).Preload("Server").Where("server = ?", server).Order("created_at").Find(&spares).Error
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range unwanted(spares) {
		errs = append(errs, c.dropSpare(ctx, s.asTenant(), s.State))
	}
	return errors.Join(errs...)
}

// all selects all spares.
func all(spares []spareRow) []spareRow { return spares }

// cutOff selects the spares whose making or dropping was cut off.
func cutOff(spares []spareRow) []spareRow {
	return slices.DeleteFunc(spares, func(s spareRow) bool { return s.State == spareReady })
}
