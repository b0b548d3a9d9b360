package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-contrib/sse"
	"github.com/gin-gonic/gin"
)

// eventsLimit is how long a client may take to accept an event.
const eventsLimit = 5 * time.Second

// eventsPause keeps a fast rollout from becoming as many messages.
const eventsPause = 50 * time.Millisecond

// events sends how far the rollout is, whenever that changes, as server-sent events,
// until the client goes away or the service stops. Each has the steps since the last.
func (o *operator) events(c *gin.Context) {
	stream := http.NewResponseController(c.Writer)
	c.Header("Cache-Control", "no-store")
	pause := time.NewTicker(eventsPause)
	defer pause.Stop()
	sent := 0
	for {
		// The stream lasts longer than an answer may, but nobody may leave it blocked.
		if err := stream.SetWriteDeadline(time.Now().Add(eventsLimit)); err != nil {
			slog.ErrorContext(c.Request.Context(), "no deadline for an event", "error", err)
			return
		}
		state, changed := o.rollout.look()
		all := state.Steps
		state.Steps = since(all, sent)
		if len(all) > 0 {
			sent = all[len(all)-1].Number
		}
		c.Render(-1, sse.Event{Event: "rollout", Data: state})
		if stream.Flush() != nil {
			return
		}
		if !await(c.Request.Context(), o.rollout.ctx, changed) || !await(c.Request.Context(), o.rollout.ctx, pause.C) {
			return
		}
	}
}

// await waits for c, and reports false if one of the contexts ends before.
func await[T any](client, service context.Context, c <-chan T) bool {
	select {
	case <-client.Done():
		return false
	case <-service.Done():
		return false
	case <-c:
		return true
	}
}

// since returns the steps behind the one of that number.
func since(steps []step, number int) []step {
	for i, s := range steps {
		if s.Number > number {
			return steps[i:]
		}
	}
	return []step{}
}
