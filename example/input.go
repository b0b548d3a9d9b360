package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what a client may send.
const (
	maxBody = 64 << 10 // bytes
	maxText = 200      // characters
)

const textRule = "1 to %d printable characters are needed"

// requestError is why a request is refused. The client may read the text.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return e.text }

// readJSON reads the body of r, the JSON of what, into the struct that into
// points to. Its errors are *requestError.
func readJSON(w http.ResponseWriter, r *http.Request, what string, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		err = atEnd(decoder)
	}
	if err != nil {
		return unreadable(err, what)
	}
	return nil
}

func atEnd(decoder *json.Decoder) error {
	_, err := decoder.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("there is more than one JSON value")
	}
	return err
}

func unreadable(err error, what string) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &requestError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody)}
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		text = strings.TrimSpace(fmt.Sprintf("%s does not fit %s", kind.Value, kind.Field))
	}
	return &requestError{http.StatusBadRequest, "the body is not the JSON of " + what + ": " + text}
}

// problems are what is wrong with the values of a request, field by field.
type problems []string

// add adds the rule that a field breaks, unless all is well with it.
func (p *problems) add(field string, ok bool, rule string, args ...any) {
	if !ok {
		*p = append(*p, field+": "+fmt.Sprintf(rule, args...))
	}
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &requestError{http.StatusUnprocessableEntity, strings.Join(p, "; ")}
}

// isText also keeps out NUL, which PostgreSQL refuses.
func isText(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= maxText && !strings.ContainsFunc(s, unicode.IsControl)
}
