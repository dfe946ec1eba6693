package lsg

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const testAuth = "6d3c875bb9f8cf503c3ed83ee5f476a3ad53f0c67706c51cf42d2db5ad8ff5a9-mNUM6"

// The lines are those that the clients send, byte by byte.
func TestEachClientsAuthLineIsUnderstood(t *testing.T) {
	base := AuthRequest{Auth: testAuth, Dataset: "XNAS.ITCH", Encoding: "dbn", Compression: "none"}
	with := func(f func(*AuthRequest)) AuthRequest { a := base; f(&a); return a }
	for name, c := range map[string]struct {
		line string
		want AuthRequest
	}{
		"Python": {
			"auth=" + testAuth + "|dataset=XNAS.ITCH|encoding=dbn|ts_out=1|compression=zstd|heartbeat_interval_s=30|slow_reader_behavior=skip|client=Databento/0.82.0 Python/3.13.1 Linux/6.1",
			with(func(a *AuthRequest) {
				a.TsOut, a.Compression, a.Heartbeat, a.SlowReader, a.Client = true, "zstd", 30*time.Second, "skip", "Databento/0.82.0 Python/3.13.1 Linux/6.1"
			}),
		},
		"Python, details between": {
			"auth=" + testAuth + "|dataset=XNAS.ITCH|encoding=dbn|details=1|ts_out=0|compression=none|heartbeat_interval_s=5|client=Databento/0.88.0",
			with(func(a *AuthRequest) { a.Heartbeat, a.Client = 5*time.Second, "Databento/0.88.0" }),
		},
		"Rust": {
			"auth=" + testAuth + "|dataset=XNAS.ITCH|encoding=dbn|compression=none|ts_out=0|client=Databento/0.54.0 Rust linux-x86_64 ext",
			with(func(a *AuthRequest) { a.Client = "Databento/0.54.0 Rust linux-x86_64 ext" }),
		},
		"Rust, all options": {
			"auth=" + testAuth + "|dataset=XNAS.ITCH|encoding=dbn|compression=zstd|ts_out=1|client=c|heartbeat_interval_s=10|slow_reader_behavior=warn",
			with(func(a *AuthRequest) {
				a.Compression, a.TsOut, a.Client, a.Heartbeat, a.SlowReader = "zstd", true, "c", 10*time.Second, "warn"
			}),
		},
		"C++": {
			"auth=" + testAuth + "|dataset=XNAS.ITCH|encoding=dbn|ts_out=1|compression=none|client=Databento/0.65.0 C++/GNU/13.2.0|heartbeat_interval_s=10",
			with(func(a *AuthRequest) {
				a.TsOut, a.Client, a.Heartbeat = true, "Databento/0.65.0 C++/GNU/13.2.0", 10*time.Second
			}),
		},
		"dbn-go, shortest": {
			"auth=" + testAuth + "|dataset=XNAS.ITCH|client=Go 0.18.1",
			with(func(a *AuthRequest) { a.Client = "Go 0.18.1" }),
		},
		"dbn-go, longest": {
			"auth=" + testAuth + "|dataset=XNAS.ITCH|client=Go 0.18.1|encoding=json|ts_out=1|pretty_px=1|pretty_ts=1|heartbeat_interval_s=60|slow_reader_behavior=skip",
			with(func(a *AuthRequest) {
				a.Client, a.Encoding, a.TsOut, a.Heartbeat, a.SlowReader = "Go 0.18.1", "json", true, time.Minute, "skip"
			}),
		},
		"shortest possible, CRLF": {"dataset=XNAS.ITCH|auth=" + testAuth + "\r", base},
		"producer of the design": {
			"auth=" + testAuth + "|dataset=BINA.SPOT|encoding=dbn|role=producer|producer=binance-1|stream=20261122T0900|ack=synced|strict=1|client=x|resume=12|heartbeat_interval_s=10",
			with(func(a *AuthRequest) {
				a.Dataset, a.Role, a.Producer, a.Stream, a.Ack, a.Client = "BINA.SPOT", "producer", "binance-1", "20261122T0900", "synced", "x"
				a.Resume, a.HasResume, a.Heartbeat, a.Strict = 12, true, 10*time.Second, true
			}),
		},
		"producer of a file of the future": {
			"auth=" + testAuth + "|dataset=SIM.A|role=producer|producer=p|stream=s|ts_recv=keep|future=1",
			with(func(a *AuthRequest) {
				a.Dataset, a.Role, a.Producer, a.Stream, a.TsRecv, a.Future = "SIM.A", "producer", "p", "s", TsRecvKeep, true
			}),
		},
		"subscriber that asks for positions": {"auth=" + testAuth + "|dataset=XNAS.ITCH|position=1", with(func(a *AuthRequest) { a.Position = true })},
	} {
		got, err := ParseAuthRequest(c.line)
		if err != nil || got != c.want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", name, got, err, c.want)
			continue
		}
		if !IsAuthRequest(c.line) {
			t.Errorf("%s: not seen as an authentication", name)
		}
		again, err := got.Append(nil)
		if err != nil {
			t.Errorf("%s: Append: %v", name, err)
		} else if back, err := ParseAuthRequest(strings.TrimSuffix(string(again), "\n")); err != nil || back != got {
			t.Errorf("%s: %q reads back as %+v, %v", name, again, back, err)
		}
	}
}

func TestBadAuthLinesAreRefusedByField(t *testing.T) {
	for line, c := range map[string]struct {
		want error
		name string
	}{
		"dataset=A":                   {ErrMissing, "auth"},
		"auth=r":                      {ErrMissing, "dataset"},
		"auth=r|dataset=A|ts_out=yes": {ErrValue, "ts_out"},
		"auth=r|dataset=A|slow_reader_behavior=block":                                   {ErrValue, "slow_reader_behavior"},
		"auth=r|dataset=A|heartbeat_interval_s=0":                                       {ErrValue, "heartbeat_interval_s"},
		"auth=r|dataset=A|heartbeat_interval_s=-5":                                      {ErrValue, "heartbeat_interval_s"},
		"auth=r|dataset=A|heartbeat_interval_s=99999999999999":                          {ErrValue, "heartbeat_interval_s"},
		"auth=r|dataset=A|role=admin":                                                   {ErrValue, "role"},
		"auth=r|dataset=SIXTEEN.BYTES.AB":                                               {ErrTooLong, "dataset"},
		"auth=r|dataset=A|role=producer|stream=s":                                       {ErrMissing, "producer"},
		"auth=r|dataset=A|role=producer|producer=p":                                     {ErrMissing, "stream"},
		"auth=r|dataset=A|role=producer|producer=p q|stream=s":                          {ErrValue, "producer"},
		"auth=r|dataset=A|role=producer|producer=p|stream=s|ack=often":                  {ErrValue, "ack"},
		"auth=r|dataset=A|role=producer|producer=p|stream=s|resume=-1":                  {ErrValue, "resume"},
		"auth=r|dataset=A|role=producer|producer=p|stream=s|resume=4611686018427387905": {ErrValue, "resume"}, // near the end of 64 bits a count would wrap
		"auth=r|dataset=A|role=producer|producer=p|stream=s|strict=yes":                 {ErrValue, "strict"},
		"auth=r|role=producer|producer=" + strings.Repeat("p", MaxName+1) + "|stream=s": {ErrTooLong, "producer"},
	} {
		_, err := ParseAuthRequest(line)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: got %v, want %v naming %s", line, err, c.want, c.name)
		}
	}
}

func TestAuthErrorsNeverShowTheAuthValue(t *testing.T) {
	for _, line := range []string{
		"auth=" + testAuth, "auth=" + testAuth + "|dataset=A|ts_out=x", "auth=" + testAuth + "|auth=" + testAuth, "auth=" + testAuth + "\x01",
	} {
		if _, err := ParseAuthRequest(line); err == nil || strings.Contains(err.Error(), testAuth[:8]) {
			t.Errorf("error %v shows the auth value, or is none", err)
		}
	}
	if _, err := (AuthRequest{Auth: testAuth + "|", Dataset: "A"}).Append(nil); err == nil || strings.Contains(err.Error(), testAuth[:8]) {
		t.Errorf("error %v shows the auth value, or is none", err)
	}
}

func TestHeartbeatOfPartSecondsIsRefusedNotRounded(t *testing.T) {
	if _, err := (AuthRequest{Auth: "r", Dataset: "A", Heartbeat: 1500 * time.Millisecond}).Append(nil); !errors.Is(err, ErrValue) {
		t.Errorf("got %v, want ErrValue", err)
	}
}

// The Python client closes the connection on a third key, the C++ one loses the session ID before a trailing '|'.
func TestSubscriberReplyHasExactlyTwoKeys(t *testing.T) {
	if got := string(AuthReply{Success: true, SessionID: 41}.Append(nil)); got != "success=1|session_id=41\n" {
		t.Errorf("got %q", got)
	}
	if got := string(AuthReply{Error: "no"}.Append(nil)); got != "success=0|error=no\n" {
		t.Errorf("got %q", got)
	}
	if got := string(AuthReply{Success: true, SessionID: 41, HasAccepted: true, Retain: time.Hour}.Append(nil)); got != "success=1|session_id=41|accepted=0|retain_s=3600\n" {
		t.Errorf("a producer's reply where records are kept for an hour: %q", got)
	}
	if got := string(AuthReply{Success: true, SessionID: 41, Retain: time.Hour}.Append(nil)); got != "success=1|session_id=41\n" {
		t.Errorf("a subscriber's client takes no third key: %q", got)
	}
	if got := string(AuthReply{Success: true, SessionID: 41, HasAccepted: true, Accepted: 9, Missing: 4}.Append(nil)); got != "success=1|session_id=41|accepted=9|missing=4\n" {
		t.Errorf("%q", got)
	}
	if got := string(AuthReply{Success: true, SessionID: 41, HasAccepted: true}.Append(nil)); got != "success=1|session_id=41|accepted=0\n" {
		t.Errorf("producer: got %q", got)
	}
}

func TestAuthRepliesOfOtherGatewaysAreUnderstood(t *testing.T) {
	for line, want := range map[string]AuthReply{
		"success=1|session_id=1611|": {Success: true, SessionID: 1611},
		"success=1|session_id=ab-1":  {Success: true},
		"success=1":                  {Success: true},
		"success=1|session_id=5|accepted=77|retain_s=604800": {Success: true, SessionID: 5, Accepted: 77, HasAccepted: true, Retain: 7 * 24 * time.Hour},
		"success=1|session_id=5|accepted=77|missing=70":      {Success: true, SessionID: 5, Accepted: 77, HasAccepted: true, Missing: 70},
		"success=1|session_id=5|accepted=77|missing=78":      {Success: true, SessionID: 5, Accepted: 77, HasAccepted: true, Missing: 77},
		"success=1|session_id=5|accepted=77|retain_s=x":      {Success: true, SessionID: 5, Accepted: 77, HasAccepted: true},
		"success=1|session_id=5|accepted=77\r":               {Success: true, SessionID: 5, Accepted: 77, HasAccepted: true},
		"success=0|error=Unknown key = bad":                  {Error: "Unknown key = bad"},
	} {
		if got, err := ParseAuthReply(line); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", line, got, err, want)
		}
	}
	for _, line := range []string{"error=fenced", "success=2", "success=1|accepted=x", ""} {
		if got, err := ParseAuthReply(line); err == nil {
			t.Errorf("%q passes as %+v", line, got)
		}
	}
}
