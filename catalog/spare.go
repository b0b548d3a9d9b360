package catalog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// A spare is a schema or a database that is made in advance, with its role and its
// tables. It is nobody's: no row of a tenant leads to it, and it was never used. A
// sign-up takes its row out and enters the tenant with the same place in one
// transaction, so that exactly one gets it. It bears a name and a mark of its own. The
// name stays; the mark becomes the tenant's.

// spareState is where a spare is in its life. From dropping nothing leads back.
type spareState string

const (
	spareBuilding spareState = "building"
	spareReady    spareState = "ready"
	spareDropping spareState = "dropping"
)

// spareRow is a row of tenantry.spares.
type spareRow struct {
	Name        string `gorm:"primaryKey"`
	State       spareState
	Kind        Kind
	ServerName  string `gorm:"column:server"`
	Cluster     string
	Database    string
	Schema      string
	Role        *string
	Password    sealed
	Fingerprint string
	CreatedAt   time.Time

	Server serverRow `gorm:"foreignKey:ServerName;references:Name"`
}

// TableName is GORM's.
func (spareRow) TableName() string { return "tenantry.spares" }

// newSpareName returns a name that no spare and, by its form, no tenant's place ever
// had before.
func newSpareName() string {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	return "spare_" + hex.EncodeToString(random)
}

// asTenant returns the row with which a spare is made and dropped like a tenant.
func (s *spareRow) asTenant() *tenantRow {
	row := &tenantRow{ID: s.Name, spare: true}
	s.place(row)
	return row
}

// place gives a row the spare's place.
func (s *spareRow) place(row *tenantRow) {
	row.Kind, row.ServerName, row.Server = s.Kind, s.ServerName, s.Server
	row.Cluster, row.Database, row.Schema, row.Role, row.Password = s.Cluster, s.Database, s.Schema, s.Role, s.Password
}

// spareFingerprint changes with everything that decides what a new tenant gets
// on that server: one that is made in advance must be as if it were made now.
func (c *Catalog) spareFingerprint(server *serverRow) string {
	migrations := ""
	if c.migrations != nil {
		migrations = c.migrations.Fingerprint()
	}
	hash := sha256.Sum256(fmt.Appendf(nil, "%q %t %t %q %q", migrations, c.roles, c.noTemplates, c.shared, c.servingOn(server)))
	return hex.EncodeToString(hash[:12])
}

// wantsSpare reports whether the tenant may get a spare.
func (c *Catalog) wantsSpare(row *tenantRow) bool { return c.spares[row.Kind] > 0 }

// takeSpare gives the row the place of a spare on a server other than the master's,
// and reports whether there was one. What is there still has the spare's mark then.
func (c *Catalog) takeSpare(ctx context.Context, tx *gorm.DB, row *tenantRow, server serverRow) (found bool, err error) {
	if server.Name == Main || !c.wantsSpare(row) {
		return false, nil
	}
	var spares []spareRow
	err = tx.Clauses(clause.Locking{Strength: "UPDATE", Options: "SKIP LOCKED"}).
		Where("server = ? and kind = ? and state = ? and fingerprint = ?", server.Name, row.Kind, spareReady, c.spareFingerprint(&server)).
		Order("created_at").Limit(1).Find(&spares).Error
	if err != nil || len(spares) == 0 {
		return false, err
	}
	spare, taken := &spares[0], *row
	spare.Server = server
	if err := c.takeOver(ctx, &taken, spare); err != nil {
		c.warnOfSpare(row, err)
		return false, tx.Model(spare).Update("state", spareDropping).Error
	}
	*row = taken
	return true, tx.Delete(spare).Error
}

func (c *Catalog) warnOfSpare(row *tenantRow, err error) {
	c.logger.Warn("catalog: a spare could not be taken, the tenant is made", slog.String("tenant", row.ID), slog.Any("error", err))
}

// takeOver gives the row the spare's place and seals the password for the tenant.
func (c *Catalog) takeOver(ctx context.Context, row *tenantRow, spare *spareRow) error {
	spare.place(row)
	row.taken = spare.Name
	if row.Kind == OwnSchema {
		return nil
	}
	password, err := c.ring.open(ctx, sparePasswordOf(spare.Name), spare.Password)
	if err != nil {
		return err
	}
	row.Password, err = c.ring.seal(ctx, row.purpose(), password)
	return err
}

// adopt gives what was made for a spare the mark of the tenant who has taken it. It
// reports false if something is not there.
func (c *Catalog) adopt(tx *gorm.DB, row *tenantRow) (whole bool, err error) {
	for _, o := range row.objects() {
		if found, err := c.take(tx, row, o); err != nil || !found {
			return false, err
		}
	}
	if row.Kind == OwnDatabase {
		return object{aDatabase, row.Database}.intact(tx)
	}
	return true, nil
}

// adoptThere is adopt for a spare on another server than the master's.
func (c *Catalog) adoptThere(ctx context.Context, row *tenantRow) (whole bool, err error) {
	err = c.atServer(ctx, row, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := c.claim(tx, row); err != nil {
				return err
			}
			whole, err = c.adopt(tx, row)
			return err
		})
	})
	return whole, err
}

// objects are what is made for the row, the role first.
func (r *tenantRow) objects() []object {
	place := object{aSchema, r.Schema}
	if r.Kind == OwnDatabase {
		place = object{aDatabase, r.Database}
	}
	if r.Role == nil {
		return []object{place}
	}
	return []object{{aRole, r.role()}, place}
}
