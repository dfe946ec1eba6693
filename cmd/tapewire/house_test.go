package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The rules of the house that a machine can keep. Tests may be longer.
const (
	longestFile     = 340 // lines
	longestFunction = 70  // lines
)

// mayImport says which of our packages each may use: imports point one way.
var mayImport = map[string][]string{
	"feed/lsg":     {},
	"feed":         {"feed/lsg"},
	"feed/synth":   {"feed"},
	"journal":      {"feed", "feed/lsg"},
	"gateway":      {"feed", "feed/lsg", "journal"},
	"cmd/soak":     {"feed", "feed/lsg", "journal"},
	"cmd/tapewire": {"feed", "feed/lsg", "feed/synth", "journal", "gateway"},
}

func TestHouseRules(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		seen[filepath.Dir(rel)] = true
		checkFile(t, path, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("no Go files in %s: the rules are out of date", dir)
		}
	}
}

func checkFile(t *testing.T, path, rel string) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		t.Error(err)
		return
	}
	if n := fset.Position(f.FileEnd).Line; n > longestFile {
		t.Errorf("%s has %d lines; split it by its nouns (the most is %d)", rel, n, longestFile)
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > longestFunction {
			t.Errorf("%s: %s has %d lines; a function fits a screen (the most is %d)", rel, fn.Name.Name, n, longestFunction)
		}
	}
	const module = "github.com/tapewire/tapewire/"
	allowed, ours := mayImport[filepath.Dir(rel)]
	for _, imp := range f.Imports {
		name, inside := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module)
		if ours && inside && !slices.Contains(allowed, name) {
			t.Errorf("%s imports %s: imports point one way, cmd > gateway > journal > feed", rel, name)
		}
	}
}
