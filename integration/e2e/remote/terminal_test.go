package remote_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// play opens a recording of the PBX.
func (s *site) play(ctx context.Context, name string, key age.Identity) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.pbx.base+"/api/v1/remote/recordings/"+name, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.pbx.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	open, err := age.Decrypt(resp.Body, key)
	if err != nil {
		s.t.Fatalf("%s: %v", resp.Status, err)
	}
	text, err := io.ReadAll(open)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestTerminal: a real browser signs in at a stock SSH server, types, sees what comes back
// and another size of its window, and is told of the end that the administrator makes. What
// was typed, and the password, are on no disk and in no log, but for the recording that
// the administrator has wanted, sealed to his key.
func TestTerminal(t *testing.T) {
	t.Parallel()
	script := newScript(t, "terminal.mjs")
	to := newShell(t)
	ctx, s := start(t, pbxShell)
	s.letShell(ctx, to)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.pbx.do(ctx, http.MethodPut, "remote/settings", map[string]string{"remote_recording": key.Recipient().String()}, nil); err != nil {
		t.Fatal(err)
	}
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
	// The administrator, who has wanted it, has a recording, which he alone can play.
	var kept struct{ Recordings []remote.Recording }
	eventually(ctx, t, "the recording", func() error {
		err := s.pbx.do(ctx, http.MethodGet, "remote", nil, &kept)
		if err == nil && len(kept.Recordings) != 1 {
			err = fmt.Errorf("there are %d", len(kept.Recordings))
		}
		return err
	})
	if text := s.play(ctx, kept.Recordings[0].Name, key); !strings.Contains(text, canary) || strings.Contains(text, to.password) {
		t.Errorf("the recording does not have what was shown, or has what was not: %.2000s", text)
	}
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
