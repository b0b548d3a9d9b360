package driver

import (
	"container/list"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tenantry/tenantry/internal/wire"
)

const (
	// hotAfter is the use of a statement with which it gets its name. The server plans
	// the first five executions of a named statement anew, too: one that comes twice
	// saves nothing.
	hotAfter = 3

	// nameLife is how long a name is used. The server keeps the types of a statement's
	// parameters as they were when it got its name, also when a migration has given a
	// column another type.
	nameLife = 10 * time.Minute

	// longestHot is the longest text that gets a name: longer ones are written by
	// programs, and seldom come twice.
	longestHot = 16 << 10
)

// hotKey is what tells statements apart that the server keeps. A tenant's statement
// names the tenant's tables; under another search_path the server would not use the
// wrong ones, but plan it anew.
type hotKey struct {
	scope    Scope
	settings string // names and values: a plan may hold what a text meant under them
	query    string
	oids     string // the types of the parameters that were given with it
}

// hotStatement is a statement that the server keeps by name.
type hotStatement struct {
	key      hotKey
	hash     uint64
	name     string
	since    time.Time
	weight   int
	said     *wire.Description // by the server; nil until it has accepted the name
	position *list.Element     // in names.order; nil until then
}

// kept reports whether the server has h.
func (h *hotStatement) kept() bool { return h.said != nil }

// takes reports whether the arguments of s are what the types print that h has for them. An argument that
// comes with its type has it under any name.
func (h *hotStatement) takes(l *lease, s *statement) bool {
	if len(s.args) != len(h.said.Params) {
		return false
	}
	for i, oid := range h.said.Params {
		if len(s.oids) > 0 && s.oids[i] != 0 {
			continue
		}
		var zone *time.Location
		if oid == pgtype.TimestamptzOID {
			zone = l.zone()
		}
		if !printsArgument(oid, s.named[1+i].Value, zone) {
			return false
		}
	}
	return true
}

// names are the statements that one session keeps by name. They are known here and
// nowhere else: whoever ends them past the driver is answered by 26000, and what was
// refused so is sent once more.
type names struct {
	limit  int    // how many statements of applications, of usual weight; 0 gives no names at all
	prefix string // of all names, not to be guessed
	last   int    // number of the newest name

	own                string // the name of a group's savepoint and portal: applications can't have it by chance
	savepoint, release string // SQL

	shapes []*shape // of what goes in front of statements
	known  map[hotKey]*hotStatement
	order  list.List // of *hotStatement, the one used last in front
	weight int       // of all that are kept
	seen   sketch
	ended  wire.Prefix // closes what is not used any more, with the next group

	// What follows is about the group that is sent.
	named   bool // what is sent may have a name
	lead    wire.Prefix
	between wire.Prefix
	front   [2]wire.Prefix
	args    []string      // for what applies settings
	hot     *hotStatement // under whose name its statement runs, or nil
}

func newNames(limit int) *names {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	prefix := "tenantry_" + hex.EncodeToString(random) + "_"
	own := prefix + "0"
	return &names{
		limit: limit, prefix: prefix, known: map[hotKey]*hotStatement{},
		own: own, savepoint: "savepoint " + own, release: "release savepoint " + own,
	}
}

// usualWeight is the length of the text, in bytes, that weighs as one statement more. What
// the server keeps of a statement grows with it: some 16 kB for a read by primary key or an
// insert of 80 bytes, 57 kB for three joins of 230.
const usualWeight = 100

// usualColumns is how many columns of the result weigh as one statement more: some 1 kB each.
const usualColumns = 16

// use returns the statement under whose name s is to be sent, which may be new to the
// server, or nil if s is to be sent without a name.
func (n *names) use(l *lease, s *statement) *hotStatement {
	if !n.named || s.unnamed || !s.traits.Repeats || len(s.query) > longestHot || !l.target.leadsToOneSchema() {
		return nil
	}
	key := hotKey{scope: l.scope, settings: l.target.key(), query: s.query, oids: oidsKey(s.oids)}
	hash := maphash.Comparable(n.seen.hashSeed(), key)
	uses := n.seen.add(hash)
	if h := n.known[key]; h != nil && time.Since(h.since) >= nameLife {
		n.end(h)
	} else if h != nil {
		n.order.MoveToFront(h.position) // also if it does not fit: to keep it again would cost more than its place
		if h.takes(l, s) {
			return h
		}
		return nil
	}
	h := &hotStatement{key: key, hash: hash, weight: 1 + len(key.query)/usualWeight}
	if uses < hotAfter || !n.room(h.weight, uses) {
		return nil
	}
	h.name = n.name()
	return h
}

// room makes room for a statement that was used so often, and reports whether there is
// any: those that stay are used at least as often.
func (n *names) room(weight, uses int) bool {
	if weight > n.limit {
		return false
	}
	for n.weight+weight > n.limit {
		victim := n.oldest()
		if victim == nil || n.seen.count(victim.hash) >= uses {
			return false
		}
		n.end(victim)
	}
	return true
}

// oldest returns the statement that was not used for longest, or nil if none is kept.
func (n *names) oldest() *hotStatement {
	oldest := n.order.Back()
	if oldest == nil {
		return nil
	}
	return oldest.Value.(*hotStatement) //nolint:forcetypeassert // the list holds nothing else
}

func (n *names) name() string {
	n.last++
	return n.prefix + strconv.Itoa(n.last)
}

// keep is called when the server has accepted h under its name.
func (n *names) keep(h *hotStatement, said *wire.Description) {
	h.since, h.said = time.Now(), said
	h.weight += said.Columns() / usualColumns
	h.position = n.order.PushFront(h)
	n.known[h.key] = h
	n.weight += h.weight
	for n.weight > n.limit { // it has more columns than it looked
		n.end(n.oldest())
	}
}

// end gives up a statement. The server is told with the next group.
func (n *names) end(h *hotStatement) {
	if h.position != nil {
		n.order.Remove(h.position)
		delete(n.known, h.key)
		n.weight -= h.weight
		h.position = nil
	}
	n.close(h.name)
}

func (n *names) close(name string) {
	_ = n.ended.Close(name) // a name of ours is never too long
}

// begin makes ready for a group. named is whether anything may have a name.
func (n *names) begin(named bool) {
	n.named = named
	n.lead.Reset()
	n.between.Reset()
	n.hot = nil
	for _, sh := range n.shapes { // the last group may never have been sent
		sh.used = false
	}
}

// prefixes returns what goes in front of the group.
func (n *names) prefixes() []wire.Prefix {
	n.front = [...]wire.Prefix{n.ended, n.lead}
	return n.front[:]
}

// settle is called when the group was sent. passed is that nothing in front of the
// statement was refused, and worked that the statement was not either. Of a name that
// was new in a group with an error nobody knows whether the server has it.
func (n *names) settle(f *wire.Filter, passed, worked bool) {
	n.ended.Reset()
	n.settleShapes(passed)
	if n.hot == nil || n.hot.kept() {
		return
	}
	if said := f.Described(inBinary); worked && said != nil {
		n.keep(n.hot, said)
		return
	}
	n.close(n.hot.name)
}

// forget gives up all names: the session has lost them, or may have. What it has not lost ends with
// the next group.
func (n *names) forget() {
	for _, h := range n.known {
		n.end(h)
	}
	for _, sh := range n.shapes {
		if sh.name != "" {
			n.close(sh.name)
		}
	}
	n.shapes = nil
}

// inBinary reports whether values of a type are asked for in binary format once the session
// keeps their statement. These are the types for which stdlib does so; to read them takes less time, and
// gives the same.
func inBinary(oid uint32) bool {
	switch oid {
	case pgtype.BoolOID, pgtype.ByteaOID, pgtype.CIDOID, pgtype.DateOID, pgtype.Float4OID, pgtype.Float8OID, pgtype.Int2OID,
		pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.XIDOID:
		return true
	}
	return false
}

// oidsKey returns oids as a part of a key.
func oidsKey(oids []uint32) string {
	if len(oids) == 0 {
		return ""
	}
	key := make([]byte, 0, 4*len(oids))
	for _, oid := range oids {
		key = binary.NativeEndian.AppendUint32(key, oid)
	}
	return string(key)
}
