package server_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// follow runs a subscriber and gives its lists and errors. It ends with the test,
// or when stop is called.
func (p *pki) follow(t *testing.T, c *enrol.Credentials, file string) (_ <-chan blocks.List, _ <-chan error, stop func()) {
	t.Helper()
	lists, errs := make(chan blocks.List, 100), make(chan error, 1000)
	client, err := blocks.New(blocks.Config{
		URL: p.url(), Credentials: c, CacheFile: file, RetryMax: 100 * time.Millisecond,
		OnError: func(err error) { errs <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- client.Run(ctx, func(l blocks.List) { lists <- l }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("feed: %v", err)
		}
	})
	t.Cleanup(stop)
	return lists, errs, stop
}

// await gives the first list that is as wanted.
func await(t *testing.T, lists <-chan blocks.List, want func(blocks.List) bool) blocks.List {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case l := <-lists:
			if want(l) {
				return l
			}
		case <-timeout:
			t.Fatal("the list did not come")
		}
	}
}

func TestFeed(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	if _, err := p.auth.Block(t.Context(), other, "", "test"); err != nil {
		t.Fatal(err)
	}
	lists, _, _ := p.follow(t, p.issued(t, relay), "")
	await(t, lists, func(l blocks.List) bool { return l.Blocked(other) })

	before := time.Now()
	epoch, err := p.auth.Block(t.Context(), device, "", "test")
	if err != nil {
		t.Fatal(err)
	}
	l := await(t, lists, func(l blocks.List) bool { return l.Blocked(device) })
	if took := time.Since(before); took > 2*time.Second || l.Epoch() != epoch || !l.Blocked(other) {
		t.Errorf("after %v: epoch %d, want %d, %v", took, l.Epoch(), epoch, l.Paths())
	}
	if _, err := p.auth.Unblock(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	await(t, lists, func(l blocks.List) bool { return !l.Blocked(device) && l.Blocked(other) })
}

// A relay that is blocked itself loses the feed, and gets it back.
func TestBlockedSubscriberIsCut(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	lists, errs, _ := p.follow(t, p.issued(t, relay), "")
	if _, err := p.auth.Block(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	await(t, lists, func(l blocks.List) bool { return l.Blocked(device) })
	if _, err := p.auth.Block(t.Context(), relay, "", "test"); err != nil {
		t.Fatal(err)
	}
	timeout := time.After(patience)
	for refused := false; !refused; {
		select {
		case err := <-errs:
			refused = errors.Is(err, enrol.ErrBlocked)
		case <-timeout:
			t.Fatal("a blocked relay still gets the feed")
		}
	}
	if _, err := p.auth.Unblock(t.Context(), relay, "", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.auth.Unblock(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	await(t, lists, func(l blocks.List) bool { return l.Len() == 0 && l.Epoch() > 0 })
}

// The PKI restarts at the same address: the subscriber comes back by itself and
// learns what was blocked in between; and it started from its file.
func TestFeedOverARestart(t *testing.T) {
	t.Parallel()
	p := start(t, "", authority.Config{}, server.Config{})
	relayCreds, addr := p.issued(t, relay), p.Addr().String()
	file := filepath.Join(t.TempDir(), "blocks.json")
	lists, _, _ := p.follow(t, relayCreds, "")
	stored, _, stopStored := p.follow(t, relayCreds, file)
	if _, err := p.auth.Block(t.Context(), other, "", "test"); err != nil {
		t.Fatal(err)
	}
	await(t, lists, func(l blocks.List) bool { return l.Blocked(other) })
	await(t, stored, func(l blocks.List) bool { return l.Blocked(other) })
	stopStored()
	p.stop()

	again, _, _ := p.follow(t, relayCreds, file) // a relay that starts meanwhile
	if l := <-again; !l.Blocked(other) {
		t.Errorf("the list on disk: %v", l.Paths())
	}
	q := start(t, p.dir, authority.Config{}, server.Config{Listen: addr})
	if _, err := q.auth.Block(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	both := func(l blocks.List) bool { return l.Blocked(device) && l.Blocked(other) }
	await(t, lists, both)
	await(t, again, both)
}
