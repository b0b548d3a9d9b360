package ginmw

import (
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/httpmw"
)

// Option changes what [New] returns.
type Option httpmw.Option

// WithAnswer replaces [httpmw.Answer], which writes the answer to a refused
// request; call it with c.Writer and c.Request for what answer does not handle.
// The status is the one that package httpmw lists; err says why, and matches one
// of its errors unless the directory or the function of [Func] failed. The text
// of err is for logs: it may tell of internals that the client must not learn.
//
// The request is aborted before answer runs. An answer that writes nothing
// leaves the status and an empty body.
func WithAnswer(answer func(c *gin.Context, status int, err error)) Option {
	if answer == nil {
		return Option(httpmw.WithAnswer(nil))
	}
	return Option(httpmw.WithAnswer(func(_ http.ResponseWriter, r *http.Request, status int, err error) {
		c := passageOf(r).gin
		c.Abort()
		c.Status(status)
		answer(c, status, err)
	}))
}

// WithLogger sets where refused requests are logged: those that the directory's
// failure refused as errors, all others at debug level. The default is
// slog.Default() as it is when [New] is called.
func WithLogger(logger *slog.Logger) Option { return Option(httpmw.WithLogger(logger)) }
