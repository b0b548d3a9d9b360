package doctor_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/doctor"
)

// found are the ids that the tests of this process have planted and found. It is a
// package variable because the testing package has no place for what all tests share.
var found sync.Map

func seen(f doctor.Finding) { found.Store(f.ID, true) }

// TestMain ends with an error if a finding has no test that plants it.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && all() && !foundAll() {
		code = 1
	}
	os.Exit(code)
}

// all reports whether all tests have run, and not some of them.
func all() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}

func foundAll() bool {
	want := slices.DeleteFunc(doctor.IDs(), func(id string) bool { return slices.Contains(behindPooler(), id) })
	var got []string
	found.Range(func(id, _ any) bool {
		got = append(got, id.(string))
		return true
	})
	slices.Sort(got)
	if !slices.Equal(got, want) {
		fmt.Fprintf(os.Stderr, "the tests have found %q, and there are %q\n", got, want)
		return false
	}
	return true
}

func TestTheIDsAreInOrderAndInTheDocs(t *testing.T) {
	t.Parallel()
	if ids := doctor.IDs(); !slices.IsSorted(ids) || len(slices.Compact(doctor.IDs())) != len(ids) {
		t.Errorf("got %q", ids)
	}
	page, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllSubmatch(page, -1) {
		told = append(told, string(match[1]))
	}
	slices.Sort(told)
	if !slices.Equal(told, doctor.IDs()) {
		t.Errorf("docs/doctor.md lists %q, and there are %q", told, doctor.IDs())
	}
}
