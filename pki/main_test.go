package main

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pki": func() { os.Exit(cli.Main(context.Background(), newProgram().Command)) },
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "otherca": otherCA,
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
	want.Server.Names = []string{}
	want.Authority.ServerNames = []string{}
	want.Server.ACMEListen = "127.0.0.1:8444"
	want.Server.ACME.Dial = map[string]string{"ara.comtrexx.test:443": "127.0.0.1:8445"}
	if len(got.Server.ACME.Roles) != 4 {
		t.Errorf("roles %+v", got.Server.ACME.Roles)
	}
	want.Server.ACME.Roles = got.Server.ACME.Roles
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the example gives\n%+v\nwant\n%+v", got, want)
	}
}
