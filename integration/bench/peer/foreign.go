package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
)

// frpProxy is frp with a TCP port on its server. All listens on host.
type frpProxy struct {
	host string
	mux  bool
	quic bool
	pool int
}

// server renders frps.toml.
func (f frpProxy) server(port int) string {
	text := fmt.Sprintf(`bindAddr = %[1]q
proxyBindAddr = %[1]q
bindPort = %[2]d
auth.token = "bench"
transport.tcpMux = %[3]t
transport.maxPoolCount = %[4]d
log.to = "console"
log.level = "warn"
`, f.host, port, f.mux, f.pool)
	if f.quic {
		text += fmt.Sprintf("quicBindPort = %d\n", port)
	}
	return text
}

// client renders the common part of frpc.toml.
func (f frpProxy) client(port int) string {
	protocol := "tcp"
	if f.quic {
		protocol = "quic"
	}
	return fmt.Sprintf(`serverAddr = %q
serverPort = %d
auth.token = "bench"
loginFailExit = false
transport.protocol = %q
transport.tcpMux = %t
transport.poolCount = %d
transport.tls.enable = true
log.to = "console"
log.level = "warn"
`, f.host, port, protocol, f.mux, f.pool)
}

// proxy renders the part of frpc.toml that offers the target.
func (f frpProxy) proxy(target string, entry int) (string, error) {
	host, port, err := net.SplitHostPort(target)
	return fmt.Sprintf(`
[[proxies]]
name = "bench"
type = "tcp"
localIP = %q
localPort = %s
remotePort = %d
`, host, port, entry), err
}

func (f frpProxy) start(_ context.Context, s *setup) error {
	ports, err := process.FreePorts(s.host, 2)
	if err != nil {
		return err
	}
	f.host = s.host
	proxy, err := f.proxy(s.target, ports[1])
	if err != nil {
		return err
	}
	s.Entry = s.at(ports[1])
	return s.frp(f.server(ports[0]), f.client(ports[0])+proxy)
}

// frp starts the server, then the clients.
func (s *setup) frp(server string, clients ...string) error {
	path, err := s.write("frps.toml", server)
	if err == nil {
		err = s.program("frps", "-c", path)
	}
	if err != nil {
		return err
	}
	s.relay = s.processes[0]
	for i, c := range clients {
		path, err := s.write(fmt.Sprintf("frpc%d.toml", i), c)
		if err == nil {
			err = s.program("frpc", "-c", path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stcp renders the device's and the visitor's part of frpc.toml.
func stcp(target string, entry int) (device, visitor string, err error) {
	host, port, err := net.SplitHostPort(target)
	device = fmt.Sprintf(`
[[proxies]]
name = "bench"
type = "stcp"
secretKey = "bench"
localIP = %q
localPort = %s
transport.useEncryption = true
`, host, port)
	visitor = fmt.Sprintf(`
[[visitors]]
name = "visitor"
type = "stcp"
serverName = "bench"
secretKey = "bench"
bindAddr = %q
bindPort = %d
transport.useEncryption = true
`, host, entry)
	return device, visitor, err
}

// startSTCP is frp where the server sees ciphertext only: the visitor is a caller.
func (f frpProxy) startSTCP(_ context.Context, s *setup) error {
	ports, err := process.FreePorts(s.host, 2)
	if err != nil {
		return err
	}
	device, visitor, err := stcp(s.target, ports[1])
	if err != nil {
		return err
	}
	f.host = s.host
	s.Entry = s.at(ports[1])
	return s.frp(f.server(ports[0]), f.client(ports[0])+device, f.client(ports[0])+visitor)
}

func startChisel(_ context.Context, s *setup) error {
	ports, err := process.FreePorts(s.host, 2)
	if err != nil {
		return err
	}
	s.Entry = s.at(ports[1])
	if err := s.program("chisel", "server", "--host", s.host, "--port", strconv.Itoa(ports[0]), "--reverse"); err != nil {
		return err
	}
	s.relay = s.processes[0]
	return s.program("chisel", "client", "--max-retry-interval", "100ms", "http://"+s.at(ports[0]), "R:"+s.Entry+":"+s.target)
}

var (
	errNoStream    = errors.New("this nginx has no stream module")
	modulesPath    = regexp.MustCompile(`--modules-path=(\S+)`)
	streamDynamic  = regexp.MustCompile(`--with-stream=dynamic`)
	streamCompiled = regexp.MustCompile(`--with-stream(\s|$)`)
)

// nginxModule finds the line that loads the stream module in what "nginx -V"
// says; it is empty where the module is compiled in.
func nginxModule(says string) (string, error) {
	path := modulesPath.FindStringSubmatch(says)
	switch {
	case streamCompiled.MatchString(says):
		return "", nil
	case streamDynamic.MatchString(says) && path != nil:
		return "load_module " + path[1] + "/ngx_stream_module.so;\n", nil
	default:
		return "", errNoStream
	}
}

// nginxConfig renders nginx.conf.
func nginxConfig(module, dir, entry, target string) string {
	return module + fmt.Sprintf(`daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
stream {
    server {
        listen %[2]s reuseport backlog=4096;
        proxy_pass %[3]s;
        proxy_buffer_size 64k;
        tcp_nodelay on;
    }
}
`, dir, entry, target)
}

func startNginx(ctx context.Context, s *setup) error {
	says, err := exec.CommandContext(ctx, s.env.programs["nginx"], "-V").CombinedOutput() //nolint:gosec // what the user put there
	if err != nil {
		return err
	}
	module, err := nginxModule(string(says))
	if err != nil {
		return err
	}
	port, err := process.FreePort(s.host)
	if err != nil {
		return err
	}
	s.Entry = s.at(port)
	path, err := s.write("nginx.conf", nginxConfig(module, s.dir, s.Entry, s.target))
	if err == nil {
		err = s.program("nginx", "-e", "stderr", "-p", s.dir, "-c", path)
	}
	if err == nil {
		s.relay = s.processes[0]
	}
	return err
}
