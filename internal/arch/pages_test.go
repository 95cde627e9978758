package arch_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"example.com/chorus/pkg/socketio"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	mdFence   = regexp.MustCompile("(?s)\n```.*?\n```")
)

// Links of the documentation lead to files and headings that exist.
func TestDocumentedLinksLead(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	links := 0
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		for _, m := range mdLink.FindAllStringSubmatch(prose(read(t, page)), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			links++
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if anchor != "" && !anchors(read(t, file))[anchor] {
				t.Errorf("%s: %s has no heading #%s", page, file, anchor)
			}
		}
	}
	if links < 20 {
		t.Errorf("found %d links", links)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// prose is a page without its code.
func prose(page string) string { return mdFence.ReplaceAllString(page, "") }

// anchors are the headings of a page as links name them.
func anchors(page string) map[string]bool {
	names := make(map[string]bool)
	for _, m := range mdHeading.FindAllStringSubmatch(prose(page), -1) {
		names[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(m[1]))] = true
	}
	return names
}

// The table of options has every one of them.
func TestEveryOptionIsDocumented(t *testing.T) {
	_, table, found := strings.Cut(read(t, filepath.Join("..", "..", "docs", "compatibility.md")), "\n## Options\n")
	if !found {
		t.Fatal("docs/compatibility.md has no section Options")
	}
	for field := range reflect.TypeFor[socketio.Options]().Fields() {
		if !strings.Contains(table, "`"+field.Name) {
			t.Errorf("docs/compatibility.md does not mention Options.%s", field.Name)
		}
	}
}
