package plugin

import "github.com/tenantry/tenantry/internal/guard"

// Errors of statements that would get past the plugin. Nothing was sent then.
var (
	// ErrForeignPool is the error of a statement for which another GORM plugin, or a
	// callback, has chosen a pool that is not the plugin's. It is db.Use's, too, with
	// gorm.io/plugin/dbresolver, in either order.
	ErrForeignPool = guard.ErrForeignPool

	// ErrReplacedCallback is the error of a statement for which another GORM plugin has
	// replaced one of GORM's own callbacks, as caches do, and of db.Use after that:
	// see [WithTrustedCallback].
	ErrReplacedCallback = guard.ErrReplacedCallback
)
