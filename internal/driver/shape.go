package driver

import (
	"slices"
	"strconv"

	"github.com/tenantry/tenantry/internal/wire"
)

// mostShapes bounds the shapes of a session. An application has a few: one for each
// list of settings that it uses.
const mostShapes = 16

// shape is a statement that goes in front of others, without its parameters.
type shape struct {
	sql  string
	name string // under which the session keeps it, or empty
	kept bool   // the session has it
	used bool   // it is in the group that is sent

	// If it applies settings, what it is made of.
	applying bool
	settings []string // their names
	schema   bool     // it looks for the schema
	hygiene  hygiene
}

// applies reports whether sh is what applies the settings of t.
func (sh *shape) applies(t *Target, h hygiene) bool {
	return sh.applying && sh.hygiene == h && sh.schema == (t.Schema != "") &&
		slices.EqualFunc(sh.settings, t.Settings, func(name string, s Setting) bool { return name == s.Name })
}

// shapeOf returns what applies the settings of t, or nil if there is nothing to apply.
func (n *names) shapeOf(t *Target, h hygiene) *shape {
	for _, sh := range n.shapes {
		if sh.applies(t, h) {
			return sh
		}
	}
	params := 0
	sql := t.query(Preamble{}, local, h, func(string) string {
		params++
		return "$" + strconv.Itoa(params)
	})
	if sql == "" {
		return nil
	}
	sh := &shape{sql: sql, applying: true, schema: t.Schema != "", hygiene: h}
	for _, s := range t.Settings {
		sh.settings = append(sh.settings, s.Name)
	}
	return n.add(sh)
}

// shapeFor returns the shape of a statement without parameters.
func (n *names) shapeFor(sql string) *shape {
	for _, sh := range n.shapes {
		if sh.sql == sql {
			return sh
		}
	}
	return n.add(&shape{sql: sql})
}

func (n *names) add(sh *shape) *shape {
	if len(n.shapes) < mostShapes {
		n.shapes = append(n.shapes, sh)
		if n.named {
			sh.name = n.name()
		}
	}
	return sh
}

// run adds a statement to what is sent, by its name if it has one.
func (sh *shape) run(to *wire.Prefix, params ...string) error {
	sh.used = true
	if !sh.kept {
		if err := to.Prepare(sh.name, sh.sql); err != nil {
			return err
		}
	}
	return to.Run(sh.name, params...)
}

// settleShapes is called when a group was sent, with whether nothing in front of its
// statement was refused. Otherwise nobody knows which of its new names there are.
func (n *names) settleShapes(passed bool) {
	n.shapes = slices.DeleteFunc(n.shapes, func(sh *shape) bool {
		if sh.name == "" || sh.kept || !sh.used {
			return false
		}
		if passed {
			sh.kept = true
			return false
		}
		n.close(sh.name)
		return true
	})
}
