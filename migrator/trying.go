package migrator

import "fmt"

// tryHard carries out a visit, and once more, up to maxTries times, if a lock could
// not be had or two transactions were in each other's way. tried is told of each
// try, with the error if there will be another.
func (m *Migrator) tryHard(v visit, tried func(try int, err error), did func(step)) (out visited, err error) {
	out.did = did
	for try := 1; ; try++ {
		tried(try, nil)
		err = m.carryOutSafely(v, &out)
		if !isCode(err, "55P03", "40P01") || try == maxTries || v.ctx.Err() != nil {
			return out, err
		}
		v.listed = nil // what was done is not in it
		tried(try, err)
		if wait(v.ctx, pause(try)) != nil {
			return out, err
		}
	}
}

// carryOutSafely makes the panic of a migration an error.
func (m *Migrator) carryOutSafely(v visit, out *visited) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a migration panicked: %v", p)
		}
	}()
	return m.carryOut(v, out)
}
