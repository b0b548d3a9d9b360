package option_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/tenantry/tenantry/internal/option"
)

type config struct{ set []string }

type configOption func(*config) error

func with(name string, err error) configOption {
	return func(c *config) error {
		c.set = append(c.set, name)
		return err
	}
}

// TestApply: every option is called, in order, also behind one that fails or is nil.
func TestApply(t *testing.T) {
	t.Parallel()
	first, second := errors.New("first"), errors.New("second")
	var c config
	err := option.Apply("some", &c, []configOption{with("a", nil), with("b", first), nil, with("c", second)})
	if !errors.Is(err, first) || !errors.Is(err, second) || err.Error() != "first\nsome: an option is nil: leave it out\nsecond" {
		t.Errorf("got %q", err)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(c.set, want) {
		t.Errorf("applied %q, want %q", c.set, want)
	}
}

func TestApplyWithoutErrors(t *testing.T) {
	t.Parallel()
	var c config
	if err := option.Apply("some", &c, []configOption{with("a", nil)}); err != nil {
		t.Error(err)
	}
	if err := option.Apply[config, configOption]("some", &c, nil); err != nil {
		t.Error(err)
	}
}
