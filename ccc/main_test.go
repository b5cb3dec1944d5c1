package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ccc": main})
}

// TestScripts runs the command line. Each script has a configuration that works, with
// credentials and a key.
func TestScripts(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector has a process wait for a second before it ends
			creds := ca.Credentials(identity.Service(identity.DefaultTrustDomain, "ccc"))
			return errors.Join(
				creds.Save(filepath.Join(e.WorkDir, "credentials")),
				os.WriteFile(filepath.Join(e.WorkDir, "ccc.yaml"), []byte(scriptConfig), 0o600),
			)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"fake-ccc": fakeCCC, "fake-remote": fakeRemote, "fake-api": fakeOperations},
	})
}

const scriptConfig = `
region: DE
credentials: credentials
http_listen: 127.0.0.1:0
dial: {relays: ["127.0.0.1:1"]}
store: {path: ccc.db}
keys: [key]
account: {hash: {memory: 8MiB, passes: 1, lanes: 1}}
admin: {listen: "127.0.0.1:0"}
`

// TestExampleIsComplete: configs/ccc.yaml is good, shows the defaults where it does not
// say "example", and has every key.
func TestExampleIsComplete(t *testing.T) {
	t.Parallel()
	text, err := configs.Example("ccc.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg := defaultConfig()
	if err := configs.Load(&cfg, configs.Source{Path: "../configs/ccc.yaml"}); err != nil {
		t.Fatal(err)
	}
	shown, known := keysOf(t, text), keysOf(t, marshal(t, defaultConfig()))
	loaded := keysOf(t, marshal(t, cfg))
	for key := range known {
		if _, there := shown[key]; !there {
			t.Errorf("ccc.yaml does not show %s", key)
		}
	}
	examples := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), "# example"); ok {
			name, _, _ = strings.Cut(name, ":")
			examples[name] = true
		}
	}
	for key, value := range known {
		last := key[strings.LastIndex(key, ".")+1:]
		if !examples[last] && key != "region" && !reflect.DeepEqual(loaded[key], value) {
			t.Errorf("ccc.yaml shows %s: %v, the default is %v", key, loaded[key], value)
		}
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// keysOf gives the paths of all keys that hold no further ones.
func keysOf(t *testing.T, text []byte) map[string]string {
	t.Helper()
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	var walk func(prefix string, tree map[string]any)
	walk = func(prefix string, tree map[string]any) {
		for key, v := range tree {
			if sub, ok := v.(map[string]any); ok && len(sub) > 0 {
				walk(prefix+key+".", sub)
				continue
			}
			all[prefix+key] = fmt.Sprint(v)
		}
	}
	walk("", tree)
	if len(all) < 20 {
		t.Fatalf("only %d keys", len(all))
	}
	return all
}

func TestRegionHasToBeGermany(t *testing.T) {
	t.Parallel()
	for region, good := range map[string]bool{"": false, "US": false, "de": false, "DE": true} {
		cfg := defaultConfig()
		err := configs.Load(&cfg, configs.Source{Text: []byte(scriptConfig), Set: []string{"region=" + region}})
		if (err == nil) != good {
			t.Errorf("region %q: %v", region, err)
		}
		if err != nil && !strings.Contains(err.Error(), "region") {
			t.Errorf("region %q: the error does not name the key: %v", region, err)
		}
	}
}
