package acmesrv_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// child is the variable that makes this program the child of TestSilent; its value
// says what the child does beside its work.
const child = "ACMESRV_TEST_CHILD"

// TestSilent runs the whole of TestServerGetsItsName in a process of its own, and
// looks from outside: nothing is read from standard input, and nobody is spoken to
// who is not on this machine. Children that do just that show that it would be seen.
func TestSilent(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.CommandContext(t.Context(), strace, "-o", os.DevNull, "true").Run()
	}
	if err != nil {
		t.Logf("connections are not looked at: strace: %v", err)
		strace = ""
	}
	for _, tt := range []struct{ does, input, dials string }{
		{"nothing more", "unread\n", ""},
		{"read", "", ""},
		{"dial", "unread\n", "192.0.2.1"},
	} {
		t.Run(tt.does, func(t *testing.T) {
			t.Parallel()
			if tt.dials != "" && strace == "" {
				t.Skip("strace does not work here")
			}
			input, outside := runChild(t, strace, tt.does)
			if input != tt.input {
				t.Errorf("%q is left of the input, want %q", input, tt.input)
			}
			if strace != "" && outside != tt.dials {
				t.Errorf("it spoke to %q, want %q", outside, tt.dials)
			}
		})
	}
}

// runChild gives what is left of the child's input, and the first address outside
// that it sent something to.
func runChild(t *testing.T, strace, does string) (input, outside string) {
	t.Helper()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := feed.WriteString("unread\n"); err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	args := []string{os.Args[0], "-test.run", "^TestServerGetsItsName$", "-test.count=1"}
	if strace != "" {
		args = append([]string{strace, "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", trace}, args...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...) //nolint:gosec // this program
	cmd.Stdin, cmd.Env = in, append(os.Environ(), child+"="+does)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS")) {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if strace == "" {
		return string(left), ""
	}
	return string(left), firstOutside(t, trace)
}

var address = regexp.MustCompile(`inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"`)

func firstOutside(t *testing.T, trace string) string {
	t.Helper()
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		for _, m := range address.FindAllStringSubmatch(lines.Text(), -1) {
			addr, err := netip.ParseAddr(m[1] + m[2])
			if err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
			seen++
			if !addr.Unmap().IsLoopback() && !addr.IsUnspecified() {
				return addr.String()
			}
		}
	}
	if seen == 0 {
		t.Error("no connection at all was seen")
	}
	return ""
}

// misbehave does in a child what must be seen.
func misbehave() {
	switch os.Getenv(child) {
	case "read":
		_, _ = io.Copy(io.Discard, io.LimitReader(os.Stdin, 7)) // all of it
	case "dial":
		// UDP, so that nobody waits for an answer.
		if conn, err := (&net.Dialer{}).DialContext(context.Background(), "udp", "192.0.2.1:443"); err == nil {
			_ = conn.Close()
		}
	}
}
