package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
)

// The log grows by one entry between two looks at it.
func TestFollow(t *testing.T) {
	t.Parallel()
	for _, json := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			const many = 3
			size := uint64(1)
			each := func(_ context.Context, after uint64, f func(audit.Entry) error) error {
				for seq := after + 1; seq <= size; seq++ {
					if err := f(audit.Entry{Seq: seq, Identity: "device/0123456789"}); err != nil {
						return err
					}
				}
				if size++; size > many {
					cancel()
				}
				return nil
			}
			var out bytes.Buffer
			cmd := &cobra.Command{}
			cmd.SetContext(ctx)
			cmd.SetOut(&out)
			p := newProgram()
			p.JSON = json
			if err := p.follow(cmd, each, 0); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			lines := strings.Count(text, "\n")
			if json && lines != many || !json && (lines != many+1 || strings.Count(text, "IDENTITY") != 1) {
				t.Errorf("json %v:\n%s", json, text)
			}
		})
	}
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	err := newProgram().follow(cmd, func(context.Context, uint64, func(audit.Entry) error) error { return broken }, 0)
	if !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
}

// Whoever watches from elsewhere has the address, a trust bundle and the log's key, and
// neither configuration nor socket.
func TestAuditFromElsewhere(t *testing.T) {
	t.Parallel()
	const td = "cloud.example"
	dir, away := filepath.Join(t.TempDir(), "s"), t.TempDir()
	cfg := authority.Config{StateDir: dir, TrustDomain: td, PlainKeys: true}
	if _, err := authority.Init(cfg); err != nil {
		t.Fatal(err)
	}
	a, err := authority.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Authority: a, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, a.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	issued := func(id identity.ID) string {
		c, err := a.Credentials(ctx, id, profile.Extra{}, "test")
		if err == nil {
			err = c.Save(filepath.Join(away, id.Name))
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(away, id.Name)
	}
	mine, foreign := issued(identity.Device(td, "0123456789")), issued(identity.Relay(td, "r1"))
	if _, err := a.Log().Sign(ctx); err != nil {
		t.Fatal(err)
	}
	kept, saved := filepath.Join(away, "kept"), filepath.Join(away, "saved")
	remote := "--url https://" + s.Addr().String() + " --key " + filepath.Join(dir, authority.LogPublicFile)
	for _, c := range []struct {
		args, out, err string
	}{
		{"head --out " + kept + " --roots " + mine + "/roots.pem " + remote, "entries  3\n", ""},
		{"head --since " + kept + " --credentials " + foreign + " " + remote, "contains all 3 entries", ""},
		{"prove " + mine + "/cert.pem --out " + saved + " --credentials " + mine + " " + remote, "entry 2 of 3", ""},
		{"prove " + mine + "/cert.pem --proof " + saved + " --key " + filepath.Join(dir, authority.LogPublicFile), "entry 2 of 3", ""},
		{"prove " + foreign + "/cert.pem --credentials " + mine + " " + remote, "", "not one of device/0123456789"},
		{"prove " + foreign + "/cert.pem --credentials " + foreign + " " + remote, "", "may not read"},
		{"prove " + mine + "/cert.pem --roots " + mine + "/roots.pem " + remote, "", "no verified certificate chain"},
		{"head --roots " + filepath.Join(dir, "log.pub") + " " + remote, "", "log.pub"},
	} {
		var out bytes.Buffer
		p := newProgram()
		p.SetArgs(append([]string{"audit"}, strings.Fields(c.args)...))
		p.SetOut(&out)
		p.SilenceErrors, p.SilenceUsage = true, true
		err := p.ExecuteContext(ctx)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) || !strings.Contains(out.String(), c.out) {
			t.Errorf("%s: %s%v, want %q, %q", c.args, out.String(), err, c.out, c.err)
		}
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}
