package tunneltest

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// MakePair makes two connected sessions. stop ends them and whatever belongs to
// them, and leaves no goroutine behind. The sessions allow at least 1000 streams
// in each direction, hold less than 8 MiB unread of a stream, and 16 full
// streams do not stop another.
type MakePair func(t *testing.T) (client, server tunnel.Session, stop func())

// Run checks that an implementation keeps the contract of tunnel.Session and
// tunnel.Stream. The calling test must not be parallel, since goroutines are
// counted.
//
// RunAwait has what else a [tunnel.Awaiter] promises.
func Run(t *testing.T, mk MakePair) {
	t.Run("LeavesNothing", func(t *testing.T) { testLeavesNothing(t, mk) })
	eachWay(t, mk, func(t *testing.T, pair pairFunc) {
		t.Helper()
		runAll(t, pair, suite)
		t.Run("Conn", func(t *testing.T) {
			t.Parallel()
			from, to := pair(t)
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				a, b := Streams(t, from, to)
				return a, b, func() {
					_ = a.Close()
					_ = b.Close()
				}, nil
			})
		})
	})
}

// pairFunc gives the side that opens streams and the side that accepts them.
type pairFunc func(t *testing.T) (from, to tunnel.Session)

// eachWay has the client open the streams in f, and then the server.
func eachWay(t *testing.T, mk MakePair, f func(t *testing.T, pair pairFunc)) {
	t.Helper()
	for _, dir := range []struct {
		name string
		swap bool
	}{{"ClientOpens", false}, {"ServerOpens", true}} {
		t.Run(dir.name, func(t *testing.T) {
			t.Parallel()
			f(t, func(t *testing.T) (from, to tunnel.Session) {
				t.Helper()
				client, server, stop := mk(t)
				t.Cleanup(stop)
				if dir.swap {
					return server, client
				}
				return client, server
			})
		})
	}
}

// streamTest is a test that gets its own sessions, and opens streams in one
// direction.
type streamTest struct {
	name string
	run  func(t *testing.T, from, to tunnel.Session)
}

func runAll(t *testing.T, pair pairFunc, tests []streamTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			from, to := pair(t)
			test.run(t, from, to)
		})
	}
}

var suite = []streamTest{
	{"HalfClose", testHalfClose},
	{"CloseDelivers", testCloseDelivers},
	{"CloseStopsThePeer", testCloseStopsThePeer},
	{"CloseUnblocks", testCloseUnblocks},
	{"ResetByOpener", func(t *testing.T, from, to tunnel.Session) { testReset(t, from, to, false) }},
	{"ResetByAcceptor", func(t *testing.T, from, to tunnel.Session) { testReset(t, from, to, true) }},
	{"ResetBeforeAccept", testResetBeforeAccept},
	{"ResetIsNoEnd", testResetIsNoEnd},
	{"Deadlines", testDeadlines},
	{"FlowControl", testFlowControl},
	{"FullDuplex", testFullDuplex},
	{"SlowReaders", testSlowReaders},
	{"DeadStreams", testDeadStreams},
	{"ManyStreams", testManyStreams},
	{"Order", testOrder},
	{"Churn", testChurn},
	{"CloseWithError", testCloseWithError},
	{"CloseWithErrorUnblocks", testCloseWithErrorUnblocks},
	{"CloseWithErrorTwice", testCloseWithErrorTwice},
	{"BothClose", testBothClose},
	{"LongReason", testLongReason},
	{"AcceptCancel", testAcceptCancel},
	{"OpenCancel", testOpenCancel},
	{"Concurrent", testConcurrent},
}

// patience is how long something may take that must happen.
const patience = time.Minute

// within runs f, and fails the test where it takes too long.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: still waiting after %v", what, patience)
	}
}

func wantCode(t *testing.T, what string, err error, code tunnel.Code, remote bool) {
	t.Helper()
	e, ok := errors.AsType[*tunnel.Error](err)
	if !ok {
		t.Errorf("%s: %v, want a *tunnel.Error", what, err)
		return
	}
	if e.Code != code || e.Remote != remote {
		t.Errorf("%s: %v (remote %t), want %s (remote %t)", what, e, e.Remote, code, remote)
	}
}

func wantClosed(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("%s: %v, want net.ErrClosed", what, err)
	}
}

func write(t *testing.T, st tunnel.Stream, p []byte) {
	t.Helper()
	if n, err := st.Write(p); err != nil || n != len(p) {
		t.Fatalf("write: %d of %d bytes, %v", n, len(p), err)
	}
}

func wantNext(t *testing.T, st tunnel.Stream, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(st, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

func wantEOF(t *testing.T, st tunnel.Stream) {
	t.Helper()
	for range 2 {
		if n, err := st.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // io.Reader returns it bare
			t.Errorf("read %d bytes, %v, want io.EOF", n, err)
		}
	}
}

func testLeavesNothing(t *testing.T, mk MakePair) {
	before := goleak.IgnoreCurrent()
	for _, first := range []int{0, 1} {
		client, server, stop := mk(t)
		for range 10 {
			a, b := Streams(t, client, server)
			go func() { _, _ = a.Read(make([]byte, 1)) }()
			go func() { _, _ = b.Write(much) }()
		}
		go func() { _, _ = server.Accept(context.Background()) }()
		sessions := []tunnel.Session{client, server}
		if err := sessions[first].CloseWithError(tunnel.CodeShutdown, ""); err != nil {
			t.Error(err)
		}
		stop()
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}
