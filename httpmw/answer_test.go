package httpmw_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/httpmw"
)

func TestAnswerNegotiatesByAccept(t *testing.T) {
	for name, tc := range map[string]struct {
		accept []string
		json   bool
	}{
		"no header":                         {nil, true},
		"an empty header":                   {[]string{""}, true},
		"anything":                          {[]string{"*/*"}, true},
		"JSON":                              {[]string{"application/json"}, true},
		"JSON in upper case":                {[]string{"Application/JSON"}, true},
		"JSON with a charset":               {[]string{"application/json; charset=utf-8"}, true},
		"any application type":              {[]string{"application/*"}, true},
		"text":                              {[]string{"text/plain"}, false},
		"any text":                          {[]string{"text/*"}, false},
		"HTML only":                         {[]string{"text/html"}, false},
		"neither":                           {[]string{"image/png"}, false},
		"a browser":                         {[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, false},
		"fetch with a fallback":             {[]string{"application/json, text/plain, */*"}, true},
		"both alike":                        {[]string{"text/plain, application/json"}, true},
		"text is better":                    {[]string{"application/json;q=0.5, text/plain"}, false},
		"JSON is better":                    {[]string{"application/json;q=0.9, text/plain;q=0.8"}, true},
		"JSON is better than anything":      {[]string{"application/json;q=0.2, */*;q=0.1"}, true},
		"text is better than anything":      {[]string{"text/plain, */*;q=0.1"}, false},
		"the specific range wins":           {[]string{"application/json;q=0.1, application/*;q=0.9, text/plain;q=0.5"}, false},
		"JSON refused":                      {[]string{"application/json;q=0, */*"}, false},
		"JSON refused with decimals":        {[]string{"application/json;q=0.000, */*"}, false},
		"text refused":                      {[]string{"text/plain;q=0, text/html, application/json;q=0.1"}, true},
		"two headers":                       {[]string{"application/json;q=0.5", "text/plain"}, false},
		"spaces":                            {[]string{" application/json ; q=0.5 , text/plain ; q=0.4 "}, true},
		"a comma in quotes":                 {[]string{`text/plain;x="a,application/json";q=0.5, application/json;q=0.4`}, false},
		"an escaped quote":                  {[]string{`text/plain;x="a\",application/json,\"";q=0.5`}, false},
		"an upper-case weight":              {[]string{"application/json;Q=0.1, text/plain;q=0.2"}, false},
		"a weight above one is left out":    {[]string{"application/json;q=7, text/plain;q=0.1"}, false},
		"a weight that is no number":        {[]string{"application/json;q=NaN, text/plain;q=0.1"}, false},
		"the same twice, the better counts": {[]string{"application/json;q=0.1, application/json;q=0.9, text/plain;q=0.5"}, true},
		"only rubbish":                      {[]string{";;,,/,\x00"}, true},
		"rubbish next to text":              {[]string{";;,text/plain"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := request("")
			r.Header["Accept"] = tc.accept
			w := serve(answering(httpmw.ErrUnknown), r)
			want, body := "text/plain; charset=utf-8", "unknown tenant\n"
			if tc.json {
				want, body = "application/json; charset=utf-8", `{"error":"unknown tenant"}`+"\n"
			}
			if got := w.Header().Get("Content-Type"); got != want || w.Body.String() != body {
				t.Errorf("%q: got %s, %q; want %s, %q", tc.accept, got, w.Body, want, body)
			}
		})
	}
}

func answering(err error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpmw.Answer(w, r, http.StatusTeapot, err)
	})
}

func TestAnswerSetsItsHeadersAndKeepsOthers(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Origin")
		httpmw.Answer(w, r, http.StatusNotFound, httpmw.ErrUnknown)
	})
	got := serve(h, request("")).Header()
	for name, want := range map[string]string{
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Vary":                   "Origin, Accept",
	} {
		if value := strings.Join(got.Values(name), ", "); value != want {
			t.Errorf("%s: got %q; want %q", name, value, want)
		}
	}
}

func TestAnswerToHeadHasNoBody(t *testing.T) {
	r := request("")
	r.Method = http.MethodHead
	w := serve(answering(httpmw.ErrUnknown), r)
	if w.Code != http.StatusTeapot || w.Body.Len() != 0 || w.Header().Get("Content-Type") == "" {
		t.Errorf("got %d, %q, %v", w.Code, w.Body, w.Header())
	}
}

func TestAnswerTellsNoInternals(t *testing.T) {
	for _, sentinel := range []error{
		httpmw.ErrNoTenant, httpmw.ErrMalformed, httpmw.ErrConflict, httpmw.ErrUnknown, httpmw.ErrSuspended, errClaims,
	} {
		w := serve(answering(fmt.Errorf("secret\": %w", sentinel)), request(""))
		var body struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error == "" || strings.Contains(body.Error, "secret") {
			t.Errorf("%v: got %q, %v", sentinel, w.Body, err)
		}
	}
}
