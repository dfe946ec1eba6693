package gateway

import "testing"

// What auto takes for a run decides what it costs: each bound from both sides.
func TestAutoTakesTheCheapestPathOfARun(t *testing.T) {
	for _, x := range []struct {
		n            int
		mapped, warm bool
		want         string
	}{
		{48, true, false, pathWrite},
		{zeroCopyFrom - 1, true, false, pathWrite},
		{zeroCopyFrom, true, false, pathSendfile},
		{spliceFrom - 1, true, false, pathSendfile},
		{spliceFrom, true, false, pathSplice},
		{spliceFrom, true, true, pathWrite},
		{48, false, false, pathSendfile}, // nothing to write from
		{spliceFrom, false, true, pathSplice},
	} {
		if got := (&sender{path: SendAuto}).choose(x.n, x.mapped, x.warm); got != x.want {
			t.Errorf("a run of %d bytes, mapped %v, warm %v: %s, want %s", x.n, x.mapped, x.warm, got, x.want)
		}
		for _, path := range []SendPath{SendSendfile, SendSplice, SendCopy} {
			if got := (&sender{path: path}).choose(x.n, x.mapped, x.warm); got != string(path) {
				t.Errorf("--send-path=%s takes %s for %+v", path, got, x)
			}
		}
	}
}
