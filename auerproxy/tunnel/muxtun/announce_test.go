package muxtun_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// TestAnnounce: each stream is announced, those too that came before anybody asked,
// and what was announced can be accepted.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	client, server := tunneltest.Pair(t, tunneltest.Options{})
	a, ok := server.(tunnel.Announcer)
	if !ok {
		t.Fatal("the session announces nothing")
	}
	if n := a.Unaccepted(); n != 0 {
		t.Fatalf("%d streams wait in a new session", n)
	}
	told := make(chan struct{}, 8)
	next := func(what string) {
		t.Helper()
		select {
		case <-told:
		case <-time.After(patience):
			t.Fatalf("not announced: %s", what)
		}
		if n := a.Unaccepted(); n != 1 {
			t.Errorf("%s: %d streams wait, want 1", what, n)
		}
		if _, err := server.Accept(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := a.Unaccepted(); n != 0 {
			t.Errorf("%s: %d streams wait after Accept", what, n)
		}
	}
	open := func() {
		t.Helper()
		if _, err := client.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	open()
	for deadline := time.Now().Add(patience); a.Unaccepted() == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("a stream is not counted")
		}
	}
	a.Announce(func() { told <- struct{}{} })
	next("a stream from before")
	for range 3 {
		open()
		next("a stream")
	}
	select {
	case <-told:
		t.Error("more was announced than opened")
	default:
	}
}
