package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tapewire/tapewire/feed"
)

// awaited polls until done says so.
func awaited(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not come", what)
		}
		time.Sleep(time.Millisecond) // polls a file
	}
}

// scriptAwait is `await FILE COUNT`: it waits until a DBN file that is being written has so many records.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	awaited(ts, args[1]+" records in "+args[0], func() bool { return wholeRecords(ts.MkAbs(args[0])) >= want })
}

// wholeRecords counts the records of a file that may end within one.
func wholeRecords(path string) (n int) {
	dec, err := feed.OpenFile(path)
	if err != nil {
		return 0
	}
	defer dec.Close()
	for _, err := range dec.Records() {
		if err != nil {
			return n
		}
		n++
	}
	return n
}

// scriptAwaitLines is `awaitlines FILE COUNT`: it waits until a text that is being written has so many lines.
func scriptAwaitLines(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	awaited(ts, args[1]+" lines in "+args[0], func() bool {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && strings.Count(string(b), "\n") >= want
	})
}

// scriptTear is `tear FILE`: it appends the first bytes of a record, as a crash leaves them.
func scriptTear(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY|os.O_APPEND, 0)
	ts.Check(err)
	_, err = f.Write(testTrade(77)[:20])
	ts.Check(errors.Join(err, f.Close()))
}
