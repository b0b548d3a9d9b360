package guard

import (
	"reflect"
	"runtime"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/logger"
)

// The callbacks of GORM that begin and end the transaction around a write.
const (
	beginName  = "gorm:begin_transaction"
	commitName = "gorm:commit_or_rollback_transaction"
)

// firstName is the guard's callback that runs before the others.
const firstName = "tenantry:guard"

// chain is what GORM calls for one kind of statement, in order.
type chain struct {
	kind      string
	callbacks interface {
		Get(name string) func(*gorm.DB)
		Replace(name string, f func(*gorm.DB)) error
	}
	first interface { // comes before all others, and is used once
		Register(name string, f func(*gorm.DB)) error
		Replace(name string, f func(*gorm.DB)) error
	}
	own       []callback
	functions reflect.Value // what GORM calls, as it stands at any time
}

// callback is one of GORM's own, and the code that is to stand there.
type callback struct {
	name string
	code uintptr
}

// send returns the name of the callback that sends the statement.
func (c *chain) send() string { return "gorm:" + c.kind }

// chainsOf returns the chains of db, each with GORM's own callbacks as they stand there.
func chainsOf(db *gorm.DB) []chain {
	c := db.Callback()
	chains := []chain{
		{kind: "create", callbacks: c.Create(), first: c.Create().Before("*"), own: named(beginName, "gorm:before_create",
			"gorm:save_before_associations", "gorm:create", "gorm:save_after_associations", "gorm:after_create", commitName)},
		{kind: "query", callbacks: c.Query(), first: c.Query().Before("*"), own: named("gorm:query", "gorm:preload", "gorm:after_query")},
		{kind: "update", callbacks: c.Update(), first: c.Update().Before("*"), own: named(beginName, "gorm:setup_reflect_value", "gorm:before_update",
			"gorm:save_before_associations", "gorm:update", "gorm:save_after_associations", "gorm:after_update", commitName)},
		{kind: "delete", callbacks: c.Delete(), first: c.Delete().Before("*"), own: named(beginName, "gorm:before_delete",
			"gorm:delete_before_associations", "gorm:delete", "gorm:after_delete", commitName)},
		{kind: "row", callbacks: c.Row(), first: c.Row().Before("*"), own: named("gorm:row")},
		{kind: "raw", callbacks: c.Raw(), first: c.Raw().Before("*"), own: named("gorm:raw")},
	}
	for i := range chains {
		chains[i].read()
	}
	return chains
}

func named(names ...string) []callback {
	own := make([]callback, len(names))
	for i, name := range names {
		own[i].name = name
	}
	return own
}

// read takes the code that stands there for the one that is to stand there.
func (c *chain) read() {
	c.functions = functionsOf(c.callbacks)
	for i := range c.own {
		c.own[i].code = codeOf(c.callbacks.Get(c.own[i].name))
	}
}

// codeOf returns which function f is. Closures of one function literal are the same.
func codeOf(f func(*gorm.DB)) uintptr {
	if f == nil {
		return 0
	}
	return reflect.ValueOf(f).Pointer()
}

// replaced returns the name of the first callback of c in whose place something else
// stands, "" if there is none. A callback may be missing, but not the one that sends the
// statement: something else does it then.
func (c *chain) replaced(trusted []string) string {
	for _, own := range c.own {
		code := codeOf(c.callbacks.Get(own.name))
		if code == own.code || code == 0 && own.name != c.send() || slices.Contains(trusted, own.name) {
			continue
		}
		return own.name
	}
	return ""
}

// by returns the name of the function that stands in the place of a callback.
func (c *chain) by(name string) string {
	if f := runtime.FuncForPC(codeOf(c.callbacks.Get(name))); f != nil {
		return f.Name()
	}
	return "nothing"
}

// gormsOwn returns the chains of a *gorm.DB to which nothing has been done.
func gormsOwn() ([]chain, error) {
	db, err := gorm.Open(nil, &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{})
	return chainsOf(db), nil
}

// IsCallback reports whether GORM has a callback of its own of that name.
func IsCallback(name string) bool {
	chains, err := gormsOwn()
	return err == nil && slices.ContainsFunc(chains, func(c chain) bool {
		return slices.ContainsFunc(c.own, func(own callback) bool { return own.name == name && own.code != 0 })
	})
}
