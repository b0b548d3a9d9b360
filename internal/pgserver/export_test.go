package pgserver

import "context"

// Find tries the given ways to the programs and returns the error if all fail.
func Find(ctx context.Context, ways map[string]func(context.Context) error) error {
	var sources []source
	for name, way := range ways {
		sources = append(sources, source{name, func(ctx context.Context) (programs, error) {
			return programs{}, way(ctx)
		}})
	}
	_, err := first(ctx, sources)
	return err
}

// NewestFirst orders directories as Start tries them.
func NewestFirst(dirs []string) []string { return newestFirst(dirs) }

// TryPort starts a server on addr once.
func TryPort(ctx context.Context, addr string) (*Server, error) {
	c, err := newConfig(nil)
	if err != nil {
		return nil, err
	}
	p, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	s, _, err := c.run(p, addr)
	if err != nil {
		return nil, err
	}
	return s, s.ready(ctx)
}

// ErrPortTaken is what makes Start try another port.
var ErrPortTaken = errPortTaken
