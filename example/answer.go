package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// answer is what came back for a request.
type answer struct {
	status int
	body   []byte
}

// invoice returns the invoice in the answer.
func (a answer) invoice() (Invoice, error) {
	var i Invoice
	if err := json.Unmarshal(a.body, &i); err != nil {
		return i, fmt.Errorf("the answer is no invoice: %w", err)
	}
	if i.ID == 0 {
		return i, fmt.Errorf("the answer is no invoice: %s", a.body)
	}
	return i, nil
}

// lines returns the answer in few words.
func (a answer) lines() []string {
	var list []Invoice
	if json.Unmarshal(a.body, &list) == nil {
		lines := make([]string, len(list))
		for i := range list {
			lines[i] = describe(list[i])
		}
		return lines
	}
	if i, err := a.invoice(); err == nil {
		return []string{describe(i)}
	}
	first, _, _ := bytes.Cut(bytes.TrimSpace(a.body), []byte("\n"))
	return []string{string(first)}
}

func describe(i Invoice) string {
	return fmt.Sprintf("#%-2d  %-18s  %9s", i.ID, i.Company.Name, i.Total())
}
