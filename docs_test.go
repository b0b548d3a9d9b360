package tenantry_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages returns the texts of README and docs/ by their paths.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("docs/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("found %d pages, %v", len(paths), err)
	}
	texts := map[string]string{}
	for _, path := range append(paths, "README.md", "CONTRIBUTING.md", "SECURITY.md") {
		texts[path] = read(t, path)
	}
	return texts
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources returns the lines of all Go files, one text per file. Space counts for
// nothing, so a snippet may be indented or aligned in another way.
func sources(t *testing.T) (texts []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			texts = append(texts, squeeze(read(t, path)))
		}
		return err
	})
	if err != nil || len(texts) < 100 {
		t.Fatalf("found %d files, %v", len(texts), err)
	}
	return texts
}

// squeeze returns the lines of a text that are not blank, each between line breaks and
// with its words one space apart.
func squeeze(text string) string {
	var b strings.Builder
	b.WriteByte('\n')
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			b.WriteString(strings.Join(words, " ") + "\n")
		}
	}
	return b.String()
}

var (
	goBlock  = regexp.MustCompile("(?ms)^ *```go\n(.*?)^ *```")
	linkText = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
)

// TestEverySnippetIsCompiled finds each snippet of the documentation in the source of a
// program or test, so that it can't become wrong unnoticed. A line "// …" stands for
// any lines.
func TestEverySnippetIsCompiled(t *testing.T) {
	files, found := sources(t), 0
	for path, text := range pages(t) {
		for _, block := range goBlock.FindAllStringSubmatch(text, -1) {
			found++
			parts := strings.Split(squeeze(block[1]), "\n// …\n")
			if !slices.ContainsFunc(files, func(file string) bool { return inOrder(file, parts) }) {
				t.Errorf("%s: no Go file has this snippet:\n%s", path, block[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d snippets only", found)
	}
}

func inOrder(text string, parts []string) bool {
	for _, part := range parts {
		if part = strings.Trim(part, "\n"); part == "" {
			continue // it ends in "// …"
		}
		_, rest, found := strings.Cut(text, "\n"+part+"\n")
		if !found {
			return false
		}
		text = "\n" + rest
	}
	return true
}

// TestEveryLinkLeadsSomewhere looks at links to files of the repository.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	found := 0
	for path, text := range pages(t) {
		for _, link := range linkText.FindAllStringSubmatch(text, -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), link[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if found < 40 {
		t.Errorf("found %d links only", found)
	}
}

// TestThePagesNameWhatThereIs keeps two tables complete: of the doctor's findings, and
// of the metrics.
func TestThePagesNameWhatThereIs(t *testing.T) {
	findings := namesIn(t, `ID: "([a-z-]+)"|lostFinding\("([a-z-]+)"`, "doctor/*.go")
	if page := namesIn(t, "(?m)^\\| `([a-z-]+)` \\|", "docs/doctor.md"); !slices.Equal(page, findings) {
		t.Errorf("docs/doctor.md lists %q, the code has %q", page, findings)
	}
	families := namesIn(t, `\b(tenantry_[a-z_]+[a-z])`, "docs/grafana.json") // which a test of metrics compares
	page := read(t, "docs/observability.md")
	for _, name := range families {
		_, rest, _ := strings.Cut(strings.TrimPrefix(name, "tenantry_"), "_")
		if !strings.Contains(page, name) && !strings.Contains(page, "`_"+strings.TrimPrefix(rest, "pool_")) {
			t.Errorf("docs/observability.md does not list %s", name)
		}
	}
}

// namesIn returns what a pattern finds in files that are no tests, sorted.
func namesIn(t *testing.T, pattern, glob string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(glob)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: found %d files, %v", glob, len(paths), err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, path), -1) {
			names = append(names, strings.Join(match[1:], ""))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
