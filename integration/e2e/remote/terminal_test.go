package remote_test

import (
	"crypto/rand"
	"path/filepath"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestTerminal: a real browser signs in at a stock SSH server, types, sees what comes back
// and another size of its window, and is told of the end that the administrator makes. What
// was typed, and the password, are on no disk and in no log of the gateway.
func TestTerminal(t *testing.T) {
	t.Parallel()
	script := newScript(t, "terminal.mjs")
	to := newShell(t)
	ctx, s := start(t, pbxShell)
	s.letShell(ctx, to)
	c := s.customer(ctx)
	r, err := c.ask(ctx, grant.SSH, "shell")
	if err != nil {
		t.Fatal(err)
	}
	id := grant.SessionID(r.ID)
	s.decide(ctx, id, "allow")
	canary := "canary-" + rand.Text()
	script.run(ctx, s.w, desk(t, c.grant(ctx, r.ID), s.ends(ctx, id)), id, map[string]any{
		"password": to.password, "canary": canary, "hostKey": to.hostKey, "target": "shell",
	})
	for _, secret := range []string{to.password, canary} {
		if found := holders(t, s.w.Dir(), secret); len(found) > 0 {
			t.Errorf("%s is in %q", secret[:7], found)
		}
	}
	// The control: what it is looked for in, and how.
	if found := holders(t, filepath.Join(s.w.Dir(), "ara"), "listening"); len(found) == 0 {
		t.Error("the gateway's log is not where it is looked for")
	}
}
