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
	maxBody     = 64 << 10 // bytes
	maxText     = 200      // characters
	maxLines    = 100
	maxQuantity = 1000
	maxPrice    = 1_000_000_00 // cents
)

// newInvoice is the body of a request that creates an invoice.
type newInvoice struct {
	Company string    `json:"company"`
	Lines   []newLine `json:"lines"`
}

type newLine struct {
	Text     string `json:"text"`
	Quantity int64  `json:"quantity"`
	Price    Cents  `json:"price_cents"`
}

// requestError is what the client did wrong. It may read the text.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return e.text }

// readInvoice returns the invoice in the body of r, or a *requestError.
func readInvoice(w http.ResponseWriter, r *http.Request) (newInvoice, error) {
	var in newInvoice
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&in)
	if err == nil {
		err = atEnd(decoder)
	}
	if err != nil {
		return in, unreadable(err)
	}
	in.trim()
	if problems := in.problems(); len(problems) > 0 {
		return in, &requestError{http.StatusUnprocessableEntity, strings.Join(problems, "; ")}
	}
	return in, nil
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

func unreadable(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &requestError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody)}
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		text = strings.TrimSpace(fmt.Sprintf("%s does not fit %s", kind.Value, kind.Field))
	}
	return &requestError{http.StatusBadRequest, "the body is not the JSON of an invoice: " + text}
}

func (in *newInvoice) trim() {
	in.Company = strings.TrimSpace(in.Company)
	for i := range in.Lines {
		in.Lines[i].Text = strings.TrimSpace(in.Lines[i].Text)
	}
}

// problems returns what is wrong with the values, or nothing.
func (in *newInvoice) problems() []string {
	var list []string
	add := func(field string, ok bool, rule string, args ...any) {
		if !ok {
			list = append(list, field+": "+fmt.Sprintf(rule, args...))
		}
	}
	const textRule = "1 to %d printable characters are needed"
	add("company", isText(in.Company), textRule, maxText)
	add("lines", len(in.Lines) >= 1 && len(in.Lines) <= maxLines, "1 to %d are needed", maxLines)
	for i, l := range in.Lines[:min(len(in.Lines), maxLines)] {
		line := fmt.Sprintf("lines[%d].", i)
		add(line+"text", isText(l.Text), textRule, maxText)
		add(line+"quantity", l.Quantity >= 1 && l.Quantity <= maxQuantity, "1 to %d is needed", maxQuantity)
		add(line+"price_cents", l.Price >= 1 && l.Price <= maxPrice, "1 to %d is needed", maxPrice)
	}
	return list
}

// isText also keeps out NUL, which PostgreSQL refuses.
func isText(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= maxText && !strings.ContainsFunc(s, unicode.IsControl)
}
