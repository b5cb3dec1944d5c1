package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// domain is that of the gateway; the others serve one name below it.
const domain = "gateway.test"

// front is a contestant.
type front struct {
	name     string
	programs []string // paths, the one that is measured first
	run      func(ctx context.Context, r *runner, programs []string) (*way, error)
}

// start starts it and waits until it serves pages.
func (f front) start(ctx context.Context, r *runner) (*way, error) {
	return f.run(ctx, r, f.programs)
}

// contestants adds rows to the report, and gives those that run.
func (r *runner) contestants(ctx context.Context) ([]front, error) {
	var all []front
	for _, c := range []struct {
		front
		names []string
		class string
		about string
		ask   []string // for its version
	}{
		{front{name: ARA, run: startARA}, []string{"ara", "auerproxy"}, "remote access", "through a tunnel to the PBX, encrypted end to end", []string{"--version"}},
		{front{name: Nginx, run: startNginx}, []string{"nginx"}, "plain proxy", "plain HTTP to the pages", []string{"-v"}},
		{front{name: Caddy, run: startCaddy}, []string{"caddy"}, "plain proxy", "plain HTTP to the pages", []string{"--version"}},
	} {
		row := score.Contestant{Name: c.name, Class: c.class, About: c.about}
		for _, name := range c.names {
			path, err := process.Find(strings.ToUpper(name), name)
			if err != nil {
				return nil, err
			}
			if path == "" {
				row.Missing = name + " is not installed"
				break
			}
			c.programs = append(c.programs, path)
		}
		if row.Missing == "" {
			out, err := exec.CommandContext(ctx, c.programs[0], c.ask...).CombinedOutput() //nolint:gosec // what the user put there
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.programs[0], err)
			}
			row.Version, _, _ = strings.Cut(string(out), "\n")
			all = append(all, c.front)
		}
		r.report.Contestants = append(r.report.Contestants, row)
	}
	if len(all) == 0 {
		return nil, errors.New("no contestant is installed")
	}
	return all, nil
}

// way is a contestant that serves.
type way struct {
	proxy  *process.Process
	behind []*process.Process
	addr   string // of the proxy
	tls    *tls.Config
	// visitor is the one who does the works.
	visitor
}

func (w *way) stop() {
	for _, p := range append([]*process.Process{w.proxy}, w.behind...) {
		if p != nil {
			p.Stop()
		}
	}
}

// settle waits until the proxy has done what the last work left it to do: not more than a
// tick of processor time in a while.
func (w *way) settle(ctx context.Context) error {
	const while, tick, patience = 200 * time.Millisecond, 10 * time.Millisecond, 10 * time.Second
	before, err := w.proxy.Usage()
	for end := time.Now().Add(patience); err == nil && time.Now().Before(end); {
		select {
		case <-time.After(while):
		case <-ctx.Done():
			return ctx.Err()
		}
		var now load.Usage
		if now, err = w.proxy.Usage(); now.CPU-before.CPU <= tick {
			break
		}
		before = now
	}
	return err
}

// at is a port of loopback.
func at(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func (r *runner) file(name string) string { return filepath.Join(r.dir, name) }

// write writes a file for a contestant.
func (r *runner) write(name, text string) (string, error) {
	return r.file(name), os.WriteFile(r.file(name), []byte(text), 0o600)
}

// writeJSON writes a configuration; YAML takes JSON.
func (r *runner) writeJSON(name string, v any) (string, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "", err
	}
	return r.write(name, string(text))
}

type section = map[string]any

func (r *runner) credentials(id identity.ID) string {
	return filepath.Join(r.dir, "certs", filepath.FromSlash(id.Path()))
}

// startARA starts a relay, to which the PBX comes, and the gateway.
func startARA(ctx context.Context, r *runner, programs []string) (w *way, err error) {
	ports, err := process.FreePorts(host, 3)
	if err != nil {
		return nil, err
	}
	w = &way{addr: at(ports[0]), tls: r.tls.client()}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	relay, err := r.writeJSON("auerproxy.yaml", section{
		"region": "DE", "credentials": r.credentials(identity.Relay(td, relayName)), "admin": section{"listen": at(ports[1])}, "log": section{"level": "warn"},
		"relay": section{
			"listen": r.pbx.Relay,
			"policy": []section{{"caller": "service/ara", "target": "device", "services": []string{"web", "remote"}}},
			"limits": section{"streams_per_device": maxStreams},
		},
	})
	if err != nil {
		return w, err
	}
	gateway, err := r.writeJSON("ara.yaml", section{
		"region": "DE", "credentials": r.credentials(identity.Service(td, ARA)), "admin": section{"listen": at(ports[2])}, "log": section{"level": "warn"},
		"domain": domain, "public_port": ports[0], "ccc_url": "https://ccc.comtrexx.test", "listen": w.addr, "access_log": section{"dir": r.file("access")},
		"names": section{"mode": "files", "domains": []string{domain, "*." + domain}, "cert_file": r.tls.cert, "key_file": r.tls.key},
		"dial":  section{"relays": []string{r.pbx.Relay}},
		"limits": section{
			"begins_per_minute": 1_000_000, "sessions": maxStreams, "sessions_per_serial": maxStreams, "sessions_per_user": maxStreams,
			"streams": maxStreams, "upgrades": maxStreams,
		},
	})
	if err != nil {
		return w, err
	}
	start := func(program, name, config, admin string) (*process.Process, error) {
		p, err := process.Start(exec.Command(program, "serve", "--config", config), name) //nolint:gosec,noctx // what the user has; stopped by stop
		if err != nil {
			return nil, err
		}
		return p, p.AwaitReady(ctx, "http://"+admin+"/readyz")
	}
	p, err := start(programs[1], "auerproxy", relay, at(ports[1]))
	w.behind = append(w.behind, p)
	if err == nil {
		w.proxy, err = start(programs[0], ARA, gateway, at(ports[2]))
	}
	if err != nil {
		return w, err
	}
	w.visitor, err = r.letIn(ctx, w, 0)
	return w, err
}

// plain is what contestants without sessions have.
func (r *runner) plain(ctx context.Context, addr string, p *process.Process) (*way, error) {
	w := &way{proxy: p, addr: addr, tls: r.tls.client(), visitor: visitor{host: "pages." + domain}}
	w.visitor.dial = w.dialer(w.host)
	err := w.awaitPage(ctx)
	if err != nil {
		err = fmt.Errorf("%w%s", err, p.Said())
		w.stop()
	}
	return w, err
}

// nginxConfig renders nginx.conf.
func nginxConfig(dir, addr, cert, key, pages string) string {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // workers read and write below the directory of the run
	}
	return user + fmt.Sprintf(`daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    tcp_nodelay on;
    upstream pages { server %[5]s; keepalive 64; keepalive_requests 1000000000; }
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    server {
        listen %[2]s ssl http2 backlog=4096;
        ssl_certificate %[3]s;
        ssl_certificate_key %[4]s;
        ssl_protocols TLSv1.3;
        keepalive_requests 1000000000;
        client_max_body_size 0;
        location / {
            proxy_pass http://pages;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_read_timeout 1h;
        }
    }
}
`, dir, addr, cert, key, pages)
}

func startNginx(ctx context.Context, r *runner, programs []string) (*way, error) {
	port, err := process.FreePort(host)
	if err != nil {
		return nil, err
	}
	path, err := r.write("nginx.conf", nginxConfig(r.dir, at(port), r.tls.cert, r.tls.key, r.pbx.Pages))
	if err != nil {
		return nil, err
	}
	p, err := process.Start(exec.Command(programs[0], "-e", "stderr", "-p", r.dir, "-c", path), Nginx) //nolint:gosec,noctx // as above
	if err != nil {
		return nil, err
	}
	return r.plain(ctx, at(port), p)
}

func startCaddy(ctx context.Context, r *runner, programs []string) (*way, error) {
	port, err := process.FreePort(host)
	if err != nil {
		return nil, err
	}
	path, err := r.write("Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	servers {
		protocols h1 h2
	}
}
https://pages.%s:%d {
	bind %s
	tls %s %s
	reverse_proxy %s
}
`, domain, port, host, r.tls.cert, r.tls.key, r.pbx.Pages))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(programs[0], "run", "--adapter", "caddyfile", "--config", path) //nolint:gosec,noctx // as above
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "XDG_DATA_HOME="+r.dir, "XDG_CONFIG_HOME="+r.dir)
	p, err := process.Start(cmd, Caddy)
	if err != nil {
		return nil, err
	}
	return r.plain(ctx, at(port), p)
}

// pair is a certificate for the domain and one label below it, which all contestants have.
type pair struct {
	cert, key string // files
	roots     *x509.CertPool
}

func newPair(dir string) (p pair, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), DNSNames: []string{domain, "*." + domain}}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return p, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return p, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return p, err
	}
	p = pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()}
	p.roots.AddCert(leaf)
	return p, errors.Join(
		os.WriteFile(p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
	)
}

func (p pair) client() *tls.Config {
	return &tls.Config{RootCAs: p.roots, MinVersion: tls.VersionTLS13}
}

// startPatience bounds the time to the first page.
const startPatience = 30 * time.Second

// awaitPage asks for a page until it comes.
func (w *way) awaitPage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		err := w.onePage(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-w.proxy.Ended():
			return fmt.Errorf("it has ended: %w", err)
		case <-ctx.Done():
			return err
		}
	}
}

func (w *way) onePage(ctx context.Context) error {
	c, err := w.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return newAsker(c, w.request(http.MethodGet, pathPage, "")).ask()
}
