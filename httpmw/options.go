package httpmw

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/tenantry/tenantry/internal/option"
)

// Option changes what [New] returns.
type Option func(*config) error

type config struct {
	answer func(w http.ResponseWriter, r *http.Request, status int, err error)
	logger *slog.Logger
}

func configure(opts []Option) (config, error) {
	c := config{answer: Answer, logger: slog.Default()}
	err := option.Apply("httpmw", &c, opts)
	return c, err
}

// WithAnswer replaces [Answer], which writes the answer to a refused request.
// The status is the one that the package documentation lists; err says why, and
// matches one of the package's errors unless the directory or the function of
// [Func] failed. Its text is for logs: it may tell of internals that the client
// must not learn.
//
// The function must write an answer: net/http sends 200 for a handler that
// writes nothing. The refused request's handler does not run in any case.
func WithAnswer(answer func(w http.ResponseWriter, r *http.Request, status int, err error)) Option {
	return func(c *config) error {
		if answer == nil {
			return errors.New("httpmw: WithAnswer: the function is nil: leave the option out for the default answer")
		}
		c.answer = answer
		return nil
	}
}

// WithLogger sets where refused requests are logged: those that the directory's
// failure refused as errors, all others at debug level. The default is
// slog.Default() as it is when [New] is called.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return errors.New("httpmw: WithLogger: the logger is nil: leave the option out for slog.Default()")
		}
		c.logger = logger
		return nil
	}
}
