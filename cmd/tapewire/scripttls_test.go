package main

import (
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tapewire/tapewire/internal/testcert"
)

// scriptCerts is `certs DIR`: it writes ca.pem of a new authority, and gateway and bot certificates that it signed, into a directory that is there.
func scriptCerts(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	authority := testcert.NewAuthority(ts)
	authority.WriteCA(ts, dir, "ca.pem")
	testcert.Write(ts, dir, "gateway", authority.Issue(ts, testcert.Wish{}))
	testcert.Write(ts, dir, "bot", authority.Issue(ts, testcert.Wish{}))
}
