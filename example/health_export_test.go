package main

import (
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"
)

// Scrape returns the status that r has for an answer from /metrics, where the operator
// has the token.
func Scrape(r *http.Request, token string) int {
	h := health{
		isToken: (&operator{token: token}).isToken,
		metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	}
	gin.SetMode(gin.ReleaseMode)
	w := httptest.NewRecorder()
	c, _ := gin.CreateTestContext(w)
	c.Request = r
	h.scrape(c)
	return w.Code
}
