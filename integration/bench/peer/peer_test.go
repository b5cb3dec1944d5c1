package peer

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// What peers are told, and so what they are measured with, changes only with a
// golden file.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	const host = "127.0.0.2"
	const target = host + ":1001"
	proxy, err := frpProxy{}.proxy(target, 1002)
	device, visitor, err2 := stcp(target, 1002)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{
		"frps-mux.toml":     frpProxy{host: host, mux: true}.server(1000),
		"frps-quic.toml":    frpProxy{host: host, quic: true}.server(1000),
		"frpc-nomux.toml":   frpProxy{host: host, pool: 32}.client(1000) + proxy,
		"frpc-quic.toml":    frpProxy{host: host, quic: true}.client(1000) + proxy,
		"frpc-device.toml":  frpProxy{host: host, mux: true}.client(1000) + device,
		"frpc-visitor.toml": frpProxy{host: host, mux: true}.client(1000) + visitor,
		"nginx.conf":        nginxConfig("load_module /modules/ngx_stream_module.so;\n", "/dir", host+":1002", target),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path) //nolint:gosec // one of the names above
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		if strings.Contains(got, "0.0.0.0") {
			t.Errorf("%s listens for everybody", name)
		}
	}
}

func TestNginxModule(t *testing.T) {
	t.Parallel()
	for says, want := range map[string]string{
		"configure arguments: --modules-path=/m --with-stream=dynamic --with-threads": "load_module /m/ngx_stream_module.so;\n",
		"configure arguments: --with-stream --with-threads":                           "",
	} {
		if got, err := nginxModule(says); err != nil || got != want {
			t.Errorf("%s: %q, %v", says, got, err)
		}
	}
	if _, err := nginxModule("configure arguments: --with-stream_ssl_module"); !errors.Is(err, errNoStream) {
		t.Errorf("got %v", err)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	none := &Env{programs: map[string]string{}}
	for _, c := range All() {
		if got := c.Missing(none) != ""; got != (len(c.programs) > 0) {
			t.Errorf("%s without programs: %q", c.Name, c.Missing(none))
		}
		if c.start == nil {
			t.Errorf("%s cannot start", c.Name)
		}
	}
}
