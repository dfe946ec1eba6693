package lsg

import (
	"errors"
	"strings"
	"testing"
)

// TestHeadOfAStreamIsReadAsItIsWrittenAndNothingElse: a head that is misread would let other data go on with a stream.
func TestHeadOfAStreamIsReadAsItIsWrittenAndNothingElse(t *testing.T) {
	sum := strings.Repeat("0f", 32)
	a, err := ParseAuthRequest("auth=x|dataset=A.B|role=producer|producer=p|stream=s|head=12:" + sum)
	if err != nil || a.Head.Records != 12 || a.Head.Sum[31] != 0x0f || a.Head.String() != "12:"+sum {
		t.Fatalf("%+v, %v", a.Head, err)
	}
	line, err := a.Append(nil)
	if again, parseErr := ParseAuthRequest(strings.TrimSpace(string(line))); err != nil || parseErr != nil || again != a {
		t.Errorf("%s is %+v, %v, %v", line, again, err, parseErr)
	}
	r := AuthReply{Success: true, SessionID: 1, Accepted: 12, HasAccepted: true, Head: a.Head}
	if again, err := ParseAuthReply(strings.TrimSpace(string(r.Append(nil)))); err != nil || again != r {
		t.Errorf("%s is %+v, %v", r.Append(nil), again, err)
	}
	for _, bad := range []string{"", "12", ":" + sum, "0:" + sum, "-1:" + sum, "12:" + sum[2:], "12:" + sum + "00", "12:" + strings.Repeat("zz", 32), "9223372036854775808:" + sum} {
		if _, err := ParseAuthRequest("auth=x|dataset=A.B|role=producer|producer=p|stream=s|head=" + bad); !errors.Is(err, ErrValue) {
			t.Errorf("head=%s: %v", bad, err)
		}
	}
}
