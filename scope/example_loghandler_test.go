package scope_test

import (
	"log/slog"
	"os"

	"github.com/tenantry/tenantry/scope"
)

func ExampleLogHandler() {
	withoutTime := func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}
	text := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime})
	logger := slog.New(scope.LogHandler(text))

	logger.InfoContext(ofAcme(), "invoice sent", "id", 7)
	logger.WithGroup("mail").InfoContext(ofAcme(), "queued", "to", "you@acme.example")
	logger.Info("listening") // no context, no tenant
	// Output:
	// level=INFO msg="invoice sent" id=7 tenant=acme
	// level=INFO msg=queued tenant=acme mail.to=you@acme.example
	// level=INFO msg=listening
}
