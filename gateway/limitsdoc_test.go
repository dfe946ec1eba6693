package gateway

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// An operator who meets a limit looks it up by its name: a bound that the page does
// not have, or one that is gone from the code, misleads.
func TestLimitsPageNamesEveryLimit(t *testing.T) {
	b, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	known := map[string]bool{}
	for field := range reflect.TypeFor[Limits]().Fields() {
		known[field.Name] = true
	}
	for _, name := range journalLimits(t) {
		known[name] = true
	}
	for name := range known {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/limits.md does not name %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`([A-Z][A-Za-z]+)`").FindAllStringSubmatch(page, -1) {
		if !known[m[1]] {
			t.Errorf("docs/limits.md names %s, and there is no such limit", m[1])
		}
	}
	b0 := newBudgets(&Limits{}, newServerMetrics(&Server{}))
	for _, code := range []string{b0.symbols.name, b0.instruments.name, b0.lines.name, b0.metadata.name, b0.parked.name, b0.replies.name, b0.sockets.name} {
		if !known[code] {
			t.Errorf("a budget calls itself %s, and there is no such limit", code)
		}
	}
}

// journalLimits is the journal's bounds that a client can meet: all that are
// exported, but for what an operator sets or a server runs by.
func journalLimits(t *testing.T) (names []string) {
	t.Helper()
	operators := map[string]bool{"DefaultMinSegment": true, "DefaultMaxSegment": true, "DefaultSyncInterval": true, "MaxSyncDelay": true, "DefaultRetryInterval": true}
	file, err := parser.ParseFile(token.NewFileSet(), "../journal/limits.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				if name.IsExported() && !operators[name.Name] {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}
