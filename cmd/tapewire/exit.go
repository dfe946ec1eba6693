package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"syscall"

	"github.com/tapewire/tapewire/feed"
	"github.com/tapewire/tapewire/feed/lsg"
)

// The exit codes. Scripts depend on them.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitConnect = 3 // no session came about, or it was lost for good
	exitRefused = 4 // the gateway said no
	exitMissing = 5 // done, but something is missing that was asked for: records, or what was never published at all
)

// exitError is an error that decides the exit code.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

// withExit gives err an exit code.
func withExit(code int, err error) error { return exitError{code, err} }

// usage is an error in what the user asked for.
func usage(format string, args ...any) error {
	return withExit(exitUsage, fmt.Errorf(format, args...))
}

// report prints err, if any, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, syscall.EPIPE) {
		return exitFailed // whoever read our output has gone, and so has the need to tell
	}
	fmt.Fprintln(w, "tapewire:", lsg.Printable(plain(err)))
	var exit exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

// plain is an error's text for a person, who need not know which package it comes from.
func plain(err error) string { return plainText(err.Error()) }

func plainText(text string) string { return internalPrefix.ReplaceAllString(text, "$1") }

// internalPrefix is a package's name where an error has it, at its beginning or behind another one's; the same word within a sentence is none.
var internalPrefix = regexp.MustCompile(`(?m)(^|[:;] |\()(?:(?:feed|lsg|journal|gateway|bad configuration): )+`)

// sessionEnd words how a subscriber's session ended. The gateway's own end, or the operator's, is a lost connection; other words are a refusal.
func sessionEnd(ended *feed.SessionError) error {
	switch {
	case ended.Text != "" && ended.Code != feed.ErrorInternal:
		return withExit(exitRefused, ended)
	case ended.Text != "":
		return withExit(exitConnect, fmt.Errorf("the gateway ended the session: %s\n%s", ended.Text, howToGoOn))
	case isGone(ended):
		return withExit(exitConnect, fmt.Errorf("the gateway is gone (connection closed); %s", howToGoOn))
	}
	return withExit(exitConnect, ended)
}

const howToGoOn = "run again with --start and the time of the last record; with -o FILE, --resume goes on exactly"

// lossText is why a session ended that will be followed by another one.
func lossText(err error) error {
	var ended *feed.SessionError
	switch {
	case errors.As(err, &ended) && ended.Text != "":
		return fmt.Errorf("the gateway ended the session: %s", ended.Text)
	case errors.As(err, &ended) && isGone(ended):
		return errors.New("the gateway is gone (connection closed)")
	case errors.Is(err, feed.ErrConnect) && errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("the gateway is gone (nothing listens there)")
	}
	return err
}

// isGone tells whether a connection just ended.
func isGone(ended *feed.SessionError) bool {
	return errors.Is(ended, io.EOF) || errors.Is(ended, io.ErrUnexpectedEOF) || errors.Is(ended, syscall.ECONNRESET) || errors.Is(ended, syscall.EPIPE)
}

// clientError gives an error of the SDK its exit code and a remedy.
func clientError(addr string, err error) error {
	var refused *feed.RefusedError
	var rejected *feed.ProducerError
	var ended *feed.SessionError
	var subscription *feed.SubscriptionError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &subscription):
		return withExit(exitRefused, err)
	case errors.As(err, &refused) && refused.Text == lsg.TLSOnly:
		return withExit(exitConnect, fmt.Errorf("%w\nadd --tls, and --tls-ca FILE when the gateway's certificate is signed by an authority of your own", err))
	case errors.As(err, &refused):
		return withExit(exitRefused, fmt.Errorf("%w%s", err, refusalRemedy(refused.Code, refused.Text)))
	case errors.As(err, &rejected):
		return withExit(exitRefused, fmt.Errorf("%w%s", err, refusalRemedy(rejected.Code, rejected.Text)))
	case errors.As(err, &ended):
		return sessionEnd(ended)
	case errors.Is(err, feed.ErrConfig):
		return withExit(exitUsage, err)
	case errors.Is(err, feed.ErrConnect) && errors.Is(err, syscall.ECONNREFUSED):
		return withExit(exitConnect, fmt.Errorf("cannot connect to %s: nothing listens there\nis the gateway running? start it with: %s serve%s", addr, programName(), listenHint(addr)))
	case errors.Is(err, feed.ErrConnect), errors.Is(err, feed.ErrLost), errors.Is(err, feed.ErrSilent):
		return withExit(exitConnect, err)
	}
	return err
}

// listenHint completes `tapewire serve` so that it would listen where the client looked.
func listenHint(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err != nil || addr == feed.DefaultAddr {
		return ""
	}
	return " --listen " + addr
}
