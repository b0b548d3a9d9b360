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
	status   int
	text     string
	problems problems // if it is about fields
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
		return &requestError{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("the body has more than %d bytes", maxBody)}
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		text = strings.TrimSpace(fmt.Sprintf("%s does not fit %s", kind.Value, kind.Field))
	}
	return &requestError{status: http.StatusBadRequest, text: "the body is not the JSON of " + what + ": " + text}
}

// problem is what is wrong with a field.
type problem struct{ field, text string }

// problems are those of a request, in the order of its fields.
type problems []problem

func (p *problems) add(field string, ok bool, rule string, args ...any) {
	if !ok {
		*p = append(*p, problem{field, fmt.Sprintf(rule, args...)})
	}
}

// of returns what is wrong with a field, "" if nothing is.
func (p problems) of(field string) string {
	for _, one := range p {
		if one.field == field {
			return one.text
		}
	}
	return ""
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p.as(http.StatusUnprocessableEntity)
}

func (p problems) as(status int) *requestError {
	texts := make([]string, len(p))
	for i, one := range p {
		texts[i] = one.field + ": " + one.text
	}
	return &requestError{status, strings.Join(texts, "; "), p}
}

// isText also keeps out NUL, which PostgreSQL refuses.
func isText(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= maxText && !strings.ContainsFunc(s, unicode.IsControl)
}
