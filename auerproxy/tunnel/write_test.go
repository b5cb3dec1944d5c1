package tunnel_test

import (
	"os"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// stuck is a stream that takes no bytes.
type stuck struct {
	*said
	reset tunnel.Code
}

func (*stuck) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
func (s *stuck) Reset(c tunnel.Code)     { s.reset = c }

// A refusal that cannot be written is still one, by its number in the reset.
func TestRefuseStuck(t *testing.T) {
	t.Parallel()
	st := &stuck{said: newSaid(nil)}
	tunnel.Refuse(st, tunnel.Errorf(tunnel.CodePolicyDenied, "no"))
	if st.reset != tunnel.CodePolicyDenied {
		t.Errorf("reset with %s, want %s", st.reset, tunnel.CodePolicyDenied)
	}
}

// A message that no peer would take is not sent.
func TestTooLargeToSend(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		extra int
		want  tunnel.Code
	}{
		"small": {10, tunnel.CodeOK},
		"large": {tunnel.MaxPreambleSize, tunnel.CodeMessageTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &tunnel.Preamble{Service: string(make([]byte, tc.extra))}
			_, _, err := tunnel.Open(limit(t, patience), talk{stream: newSaid(frame(&tunnel.OpenAck{}))}, p)
			if got := tunnel.CodeOf(err); got != tc.want {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}
