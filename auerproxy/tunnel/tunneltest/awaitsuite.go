package tunneltest

import (
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// RunAwait checks that the streams of an implementation keep the contract of
// [tunnel.Awaiter].
func RunAwait(t *testing.T, mk MakePair) {
	t.Run("Await", func(t *testing.T) {
		eachWay(t, mk, func(t *testing.T, pair pairFunc) {
			t.Helper()
			runAll(t, pair, []streamTest{{"Calls", testAwait}, {"EachByte", testAwaitEach}})
		})
	})
}

// awaiting has a stream call when there is something to read, and gives the channel
// that is then closed. It tries until the stream can tell.
func awaiting(t *testing.T, st tunnel.Awaiter) <-chan struct{} {
	t.Helper()
	called := make(chan struct{})
	for deadline := time.Now().Add(patience); !st.Await(func() { close(called) }); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("a stream with nothing to read does not wait")
		}
	}
	return called
}

func wantCalled(t *testing.T, what string, called <-chan struct{}) {
	t.Helper()
	select {
	case <-called:
	case <-time.After(patience):
		t.Fatalf("%s: not called after %v", what, patience)
	}
}

// testAwait: whatever Read would say calls.
func testAwait(t *testing.T, from, to tunnel.Session) {
	for _, tt := range []struct {
		name string
		do   func(here, there tunnel.Stream)
		then error
		code tunnel.Code
	}{
		{"a byte", func(_, there tunnel.Stream) { write(t, there, []byte("x")) }, nil, tunnel.CodeOK},
		{"the end", func(_, there tunnel.Stream) { _ = there.CloseWrite() }, io.EOF, tunnel.CodeOK},
		{"the peer's Close", func(_, there tunnel.Stream) { _ = there.Close() }, io.EOF, tunnel.CodeOK},
		{"the peer's Reset", func(_, there tunnel.Stream) { there.Reset(tunnel.CodeKicked) }, nil, tunnel.CodeKicked},
		{"the own Reset", func(here, _ tunnel.Stream) { here.Reset(tunnel.CodeSlowReader) }, nil, tunnel.CodeSlowReader},
		{"the end of the session", func(tunnel.Stream, tunnel.Stream) {
			_ = from.CloseWithError(tunnel.CodeShutdown, "")
		}, nil, tunnel.CodeSessionLost},
	} {
		a, b := Streams(t, from, to)
		here, ok := b.(tunnel.Awaiter)
		if !ok {
			t.Fatal("its streams cannot tell")
		}
		called := awaiting(t, here)
		select {
		case <-called:
			t.Fatalf("%s: called before it", tt.name)
		default:
		}
		tt.do(b, a)
		wantCalled(t, tt.name, called)
		n, err := b.Read(make([]byte, 1))
		switch {
		case tt.code != tunnel.CodeOK:
			if tunnel.CodeOf(err) != tt.code {
				t.Errorf("%s: read %d, %v", tt.name, n, err)
			}
		case err != tt.then || n != 1 && err == nil: //nolint:errorlint // io.Reader returns io.EOF bare
			t.Errorf("%s: read %d, %v", tt.name, n, err)
		}
		if err != nil && here.Await(func() { t.Errorf("%s: called twice", tt.name) }) {
			t.Errorf("%s: waits after it", tt.name)
		}
		_, _ = a.Close(), b.Close()
	}
}

// testAwaitEach: no byte is missed by readers that wait for each, with others beside.
func testAwaitEach(t *testing.T, from, to tunnel.Session) {
	const streams, messages = 8, 200
	var all sync.WaitGroup
	for range streams {
		a, b := Streams(t, from, to)
		here, ok := b.(tunnel.Awaiter)
		if !ok {
			t.Fatal("its streams cannot tell")
		}
		echoed := make(chan struct{})
		var echo func()
		buf := make([]byte, 64)
		echo = func() {
			for {
				n, err := b.Read(buf)
				if err != nil {
					close(echoed)
					return
				}
				if _, err := b.Write(buf[:n]); err != nil {
					t.Errorf("write: %v", err)
				}
				if here.Await(echo) {
					return
				}
			}
		}
		if !here.Await(echo) {
			go echo()
		}
		all.Go(func() {
			got := make([]byte, 3)
			for range messages {
				if _, err := a.Write([]byte("abc")); err != nil {
					t.Errorf("write: %v", err)
					break
				}
				if _, err := io.ReadFull(a, got); err != nil || string(got) != "abc" {
					t.Errorf("read %q, %v", got, err)
					break
				}
			}
			_ = a.CloseWrite()
			<-echoed
			_, _ = a.Close(), b.Close()
		})
	}
	within(t, "messages to readers that wait for each", all.Wait)
}
