package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// format is how results are printed.
type format string

const (
	asTable format = "table" // for people
	asJSON  format = "json"  // for programs: one document
)

// String, Set and Type make a format the value of a flag.
func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(v string) error {
	if v != string(asTable) && v != string(asJSON) {
		return fmt.Errorf("it is %s or %s", asTable, asJSON)
	}
	*f = format(v)
	return nil
}

// outputFlag gives cmd and its children -o. It is not root's, so that an
// application can take the children alone.
func (t *tree) outputFlag(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().VarP(&t.output, "output", "o", "print as `format`: table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{string(asTable), string(asJSON)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// print prints v as JSON, or what text writes.
func (t *tree) print(cmd *cobra.Command, v any, text func(*sheet)) error {
	out := cmd.OutOrStdout()
	if t.output == asJSON {
		return printJSON(out, v)
	}
	s := &sheet{out: out, table: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	text(s)
	s.flush()
	return s.err
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// sheet is what a command prints for people: lines and tables.
type sheet struct {
	out   io.Writer
	table *tabwriter.Writer
	err   error // the first
}

// row writes one row of a table.
func (s *sheet) row(cells ...string) {
	for i, c := range cells {
		cells[i] = printable(c)
	}
	_, err := fmt.Fprintln(s.table, strings.Join(cells, "\t"))
	s.fail(err)
}

// line ends the table, if there is one, and writes a line.
func (s *sheet) line(text string, args ...any) {
	s.flush()
	_, err := fmt.Fprintln(s.out, printableLines(fmt.Sprintf(text, args...)))
	s.fail(err)
}

func (s *sheet) flush() { s.fail(s.table.Flush()) }

func (s *sheet) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// printable writes what a terminal would obey, and what would break a table, as
// Go's escape sequences: texts may be a tenant's own.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// printableLines is printable for texts of several lines, which may be indented.
func printableLines(text string) string {
	var b strings.Builder
	for {
		at := strings.IndexAny(text, "\n\t")
		if at < 0 {
			return b.String() + printable(text)
		}
		b.WriteString(printable(text[:at]) + text[at:at+1])
		text = text[at+1:]
	}
}

// oneLine writes a text of several lines as one: the cause is often in the last.
func oneLine(text string) string {
	var lines []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, " ")
}

// moment writes a time for people; the zero time is empty.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// span writes a duration for people.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// list makes JSON's [] of nil.
func list[T any](of []T) []T {
	if of == nil {
		return []T{}
	}
	return of
}

// count writes a number with its noun.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
