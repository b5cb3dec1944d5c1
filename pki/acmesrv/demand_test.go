package acmesrv_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
)

// A server gets a certificate for a name that comes up, in the handshake for it, where
// its program says that there is such a name; and for no other one, however allowed.
func TestServerGetsNamesOnDemand(t *testing.T) {
	const own, one = "ara.comtrexx.test", "one.ara.comtrexx.test"
	dir := t.TempDir()
	ln := listen(t)
	at := ln.Addr().String()
	w := start(t, func(c *acmesrv.Config) {
		c.Dial = map[string]string{own + ":443": at, "*." + own + ":443": at}
	})
	w.writeEAB(dir, "srv-ara")
	cfg := w.serverConfig(dir)
	cfg.Domains, cfg.Directory = []string{own}, w.https.URL+acmesrv.DirectoryPath("srv-ara")
	var known atomic.Bool
	known.Store(true)
	cfg.Ask = func(name string) bool { return known.Load() && name == one }
	n := serve(t, ln, cfg)
	n.await(t, w.roots, own, anyLeaf)

	first, err := n.leaf(w.roots, one) // at once
	if err != nil {
		t.Fatal(err)
	}
	if again, err := n.leaf(w.roots, one); err != nil || !again.Equal(first) {
		t.Errorf("the second handshake: %v", err)
	}
	if _, err := n.leaf(w.roots, "two.ara.comtrexx.test"); err == nil {
		t.Error("a name that the program does not have is served")
	}
	stored := func() (names string) {
		all, err := filepath.Glob(filepath.Join(cfg.Storage, "certificates", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range all {
			names += filepath.Base(path) + " "
		}
		return names
	}
	if got := stored(); got != own+" "+one+" " {
		t.Errorf("stored: %s", got)
	}
	n.stop()

	// What the program does not have any more is deleted; the rest is still there.
	known.Store(false)
	n = serve(t, listen(t), cfg)
	n.await(t, w.roots, own, anyLeaf)
	if _, err := n.leaf(w.roots, one); err == nil {
		t.Error("a name that is gone is served")
	}
	tick := time.NewTicker(10 * time.Millisecond) // it serves before it deletes
	defer tick.Stop()
	for end := time.Now().Add(patience); strings.TrimSpace(stored()) != own; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("stored: %s", stored())
		}
	}
	n.stop()
	if _, err := os.Stat(cfg.Storage); err != nil {
		t.Error(err)
	}
}
