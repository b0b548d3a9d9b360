package httpmw

import "net/http"

// Answer writes the default answer to a request that was refused with err: the
// status and a short fixed text such as "unknown tenant", never the text of err.
// An answer of your own ([WithAnswer]) may call it for what it does not handle.
//
// The answer is JSON, {"error":"unknown tenant"}, or plain text, whichever the
// Accept header prefers. It is JSON when the header is missing or has no
// preference, and plain text when it accepts neither. A preference for HTML, as
// browsers have, counts as one for plain text. HEAD gets no body.
func Answer(w http.ResponseWriter, r *http.Request, status int, err error) {
	_, text := classify(err)
	contentType, body := "text/plain; charset=utf-8", []byte(text+"\n")
	if prefersJSON(r.Header.Values("Accept")) {
		contentType, body = "application/json; charset=utf-8", []byte(`{"error":"`+text+"\"}\n")
	}
	if r.Method == http.MethodHead {
		body = nil
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone, and there is nobody else to tell
}
