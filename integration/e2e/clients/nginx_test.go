package clients

import (
	"net"
	"os"
	"path/filepath"
	"strings"
)

// nginx is the stock web server as the target of a device.
type nginx struct {
	// web is the target of plain connections; proxied that of connections that
	// begin with a PROXY header.
	web, proxied string
	uploads      string // directory
}

const nginxConf = `
daemon off;
worker_processes 1;
pid DIR/pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path DIR/tmp; proxy_temp_path DIR/tmp; fastcgi_temp_path DIR/tmp;
	uwsgi_temp_path DIR/tmp; scgi_temp_path DIR/tmp;
	client_max_body_size 0;
	sendfile on;
	server {
		listen unix:DIR/web;
		location = / { default_type text/html; return 200 "<!doctype html><title>nginx</title><h1>nginx behind $host</h1><p>asked by $http_x_auer_caller"; }
		location = /blob { alias BLOB; }
		location = /small { alias SMALL; }
		location = /digits { default_type text/plain; root DIR; }
		location /uploads/ { root DIR; dav_methods PUT; }
		location / { return 404; }
	}
	server {
		listen unix:DIR/proxied proxy_protocol;
		location = / { default_type text/plain; return 200 "from $proxy_protocol_addr"; }
	}
}
`

// startNginx starts nginx on unix sockets, so that no port is needed.
func (c *cloud) startNginx() *nginx {
	c.t.Helper()
	bin := tool(c.t, "nginx")
	b := theBlob(c.t)
	dir := c.t.TempDir()
	n := &nginx{web: "unix:" + filepath.Join(dir, "web"), proxied: "unix:" + filepath.Join(dir, "proxied"), uploads: filepath.Join(dir, "uploads")}
	conf := strings.NewReplacer("DIR", dir, "BLOB", b.path, "SMALL", b.smallPath).Replace(nginxConf)
	if os.Geteuid() == 0 {
		conf = "user root;" + conf // the workers read and write in the test's directory
	}
	for path, text := range map[string]string{"nginx.conf": conf, "digits": "0123456789"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, d := range []string{n.uploads, filepath.Join(dir, "tmp")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	p := c.daemon(c.command(bin, "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf")))
	p.await(c.t, "nginx listens", func() bool {
		conn, err := net.Dial("unix", strings.TrimPrefix(n.web, "unix:"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return n
}
