package arch_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/chorus/pkg/socketio"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	mdFence   = regexp.MustCompile("(?s)\n```.*?\n```")
)

// documentation lists the pages for people: README.md, those of docs/ and of deploy/.
func documentation(t *testing.T) []string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{filepath.Join(root, "README.md")}
	for _, folder := range []string{"docs", "deploy"} {
		found, err := filepath.Glob(filepath.Join(root, folder, "*.md"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d pages, %v", folder, len(found), err)
		}
		pages = append(pages, found...)
	}
	return pages
}

// link leads from a page to a file, which may be the page itself, and there perhaps to a heading.
type link struct{ file, anchor string }

// links are those of a page that do not leave the project.
func links(t *testing.T, page string) (found []link) {
	t.Helper()
	for _, m := range mdLink.FindAllStringSubmatch(prose(read(t, page)), -1) {
		target, anchor, _ := strings.Cut(m[1], "#")
		switch {
		case strings.Contains(target, "://"):
		case target == "":
			found = append(found, link{page, anchor})
		default:
			found = append(found, link{filepath.Join(filepath.Dir(page), target), anchor})
		}
	}
	return found
}

// Links of the documentation lead to files and headings that exist.
func TestDocumentedLinksLead(t *testing.T) {
	n := 0
	for _, page := range documentation(t) {
		for _, to := range links(t, page) {
			n++
			if _, err := os.Stat(to.file); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if to.anchor != "" && !anchors(read(t, to.file))[to.anchor] {
				t.Errorf("%s: %s has no heading #%s", page, to.file, to.anchor)
			}
		}
	}
	if n < 100 {
		t.Errorf("found %d links", n)
	}
}

// Whoever begins at README.md finds the index of docs/, and there every page.
func TestDocumentationIsReachable(t *testing.T) {
	pages := documentation(t)
	index := filepath.Join(filepath.Dir(pages[0]), "docs", "README.md")
	leadsTo := func(from, to string) bool {
		return slices.ContainsFunc(links(t, from), func(l link) bool { return l.file == to })
	}
	if !leadsTo(pages[0], index) {
		t.Errorf("README.md does not lead to %s", index)
	}
	for _, page := range pages[1:] {
		if filepath.Dir(page) == filepath.Dir(index) && page != index && !leadsTo(index, page) {
			t.Errorf("%s does not lead to %s", index, page)
		}
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
