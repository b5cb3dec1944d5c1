package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pki":     func() { os.Exit(cli.Main(context.Background(), newProgram().Command)) },
		shellName: shellMain,
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			// The race detector has a process wait for a second before it ends.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			newShell(t, env)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run": inShell, "await": await, "otherca": otherCA, "otherlog": otherLog, "silent": silent, "fingerprint": fingerprint,
		},
	})
}

// await waits for a file to appear: await PATH.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await PATH")
	}
	const patience = 30 * time.Second
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not appear", args[0])
		}
	}
}

// otherCA writes the root of another CA with the same names: otherca PATH.
func otherCA(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: otherca PATH")
	}
	ca, err := pkitest.NewCA("comtrexx.test")
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), ca.RootPEM(), 0o600))
}

// otherLog makes the proof of a log with another key for the same entry: otherlog
// PROOF OUT KEY.
func otherLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: otherlog PROOF OUT KEY")
	}
	proof, err := audit.ParseProof([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	secret, public, err := note.GenerateKey(rand.Reader, "comtrexx.test/audit")
	ts.Check(err)
	signer, err := note.NewSigner(secret)
	ts.Check(err)
	text := fmt.Sprintf("comtrexx.test/audit\n1\n%s\n", tlog.RecordHash(proof.Entry))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	ts.Check(err)
	proof.Index, proof.Logged.Proof, proof.Checkpoint = 0, nil, string(signed)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), proof.Marshal(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(public), 0o600))
}

// silent issues past the PKI, with the key in its state directory: silent STATE KIND
// OUT.
func silent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: silent STATE KIND OUT")
	}
	base := filepath.Join(args[0], args[1])
	pair, err := tls.X509KeyPair([]byte(ts.ReadFile(base+".pem")), []byte(ts.ReadFile(base+".key")))
	ts.Check(err)
	leaf := profile.Leaf(identity.Relay(identity.DefaultTrustDomain, "silent"), profile.Extra{})
	leaf.SerialNumber, leaf.NotAfter = big.NewInt(7), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, leaf, pair.Leaf, pkitest.NewKey().Public(), pair.PrivateKey)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

// fingerprint sets a variable to that of a certificate: fingerprint PATH NAME.
func fingerprint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fingerprint PATH NAME")
	}
	certs, err := enrol.ParseCertificates([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Setenv(args[1], enrol.Fingerprint(certs[0]))
}

// The example must load, and show the defaults where it says so.
func TestExampleConfig(t *testing.T) {
	t.Parallel()
	text, err := configs.Example("pki.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pki.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	got, want := defaultConfig(), defaultConfig()
	got.Authority.Backdate = 0 // so that a key that is not read shows
	if err := configs.Load(&got, configs.Source{Path: path, Env: []string{}}); err != nil {
		t.Fatal(err)
	}
	want.Authority.StateDir = "/var/lib/pki"
	want.Authority.FactoryRoots, want.Authority.ServerNames, want.Server.Names = []string{}, []string{}, []string{}
	want.Server.Log.Readers = []string{}
	want.AccessLog.Dir, want.AccessLog.Show = "/var/lib/pki/access", []accesslog.Network{{Prefix: netip.MustParsePrefix("10.20.0.0/24")}}
	want.Server.ACMEListen = "127.0.0.1:8446"
	want.Server.ACME.Dial = map[string]string{"ara.comtrexx.test:443": "127.0.0.1:8445", "*.ara.comtrexx.test:443": "127.0.0.1:8445"}
	if len(got.Server.ACME.Roles) != 5 {
		t.Errorf("roles %+v", got.Server.ACME.Roles)
	}
	want.Server.ACME.Roles = got.Server.ACME.Roles
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the example gives\n%+v\nwant\n%+v", got, want)
	}
}
