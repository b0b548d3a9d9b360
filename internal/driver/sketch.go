package driver

import "hash/maphash"

// sketchSize is the number of counters in each row of a sketch; a power of two.
const sketchSize = 2048

// sketch counts how often things were seen lately, without keeping them: a count-min
// sketch of two rows. What it says is never too low, and too high only where two
// things share both counters. Now and then all counts are halved, so that what was
// used long ago does not count for ever. The zero value is ready for use.
type sketch struct {
	seed  maphash.Seed
	rows  [2][]uint8
	until int // the counts are halved
}

// hashSeed returns the seed of the hashes that the sketch is asked for.
func (s *sketch) hashSeed() maphash.Seed {
	if s.rows[0] == nil {
		s.seed = maphash.MakeSeed()
		s.rows = [2][]uint8{make([]uint8, sketchSize), make([]uint8, sketchSize)}
		s.until = 8 * sketchSize
	}
	return s.seed
}

// add counts what has the hash, and returns how often it was seen lately.
func (s *sketch) add(hash uint64) int {
	if s.until--; s.until == 0 {
		s.age()
	}
	for i := range s.rows {
		if c := &s.rows[i][slot(hash, i)]; *c < 255 {
			*c++
		}
	}
	return s.count(hash)
}

// count returns how often what has the hash was seen lately.
func (s *sketch) count(hash uint64) int {
	return int(min(s.rows[0][slot(hash, 0)], s.rows[1][slot(hash, 1)]))
}

// slot is the counter of a hash in a row.
func slot(hash uint64, row int) uint64 { return hash >> (32 * row) % sketchSize }

func (s *sketch) age() {
	s.until = 8 * sketchSize
	for _, row := range s.rows {
		for i := range row {
			row[i] /= 2
		}
	}
}
