package muxtun_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// httpProxy serves one CONNECT after the other and passes on bytes; answer, where
// set, replaces its answer.
func httpProxy(t *testing.T, auth, answer string) *url.URL {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				br := bufio.NewReader(c)
				req, err := http.ReadRequest(br)
				if err != nil || req.Method != http.MethodConnect {
					return
				}
				if answer != "" {
					_, _ = io.WriteString(c, answer)
					return
				}
				if req.Header.Get("Proxy-Authorization") != auth {
					_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
					return
				}
				to, err := net.Dial("tcp", req.Host)
				if err != nil {
					_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
					return
				}
				defer func() { _ = to.Close() }()
				_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n")
				go func() {
					_, _ = io.Copy(to, br)
					_ = to.Close()
				}()
				_, _ = io.Copy(c, to)
			}()
		}
	}()
	return &url.URL{Scheme: "http", Host: ln.Addr().String()}
}

func TestDialThroughProxy(t *testing.T) {
	t.Parallel()
	p := listen(t, muxtun.Config{})
	through := func(u *url.URL) *muxtun.Dialer {
		d := p.dialer()
		d.Proxy = func(addr string) (*url.URL, error) {
			if addr != p.ln.Addr().String() {
				t.Errorf("proxy asked for %q", addr)
			}
			return u, nil
		}
		return d
	}
	plain := httpProxy(t, "", "")
	p.works(t, through(plain))
	p.works(t, through(nil)) // no proxy for this address

	closed := httpProxy(t, "Basic dXNlcjpzZWNyZXQ=", "")
	withUser := *closed
	withUser.User = url.UserPassword("user", "secret")
	p.works(t, through(&withUser))

	for name, tt := range map[string]struct {
		proxy *url.URL
		want  string
	}{
		"no password":   {closed, "407"},
		"garbage":       {httpProxy(t, "", "220 smtp.example.com\r\n"), "CONNECT"},
		"endless":       {httpProxy(t, "", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 64<<10)), "CONNECT"},
		"hangs up":      {httpProxy(t, "", "HTTP/1.1 200 OK\r\n"), "CONNECT"},
		"not http":      {&url.URL{Scheme: "socks5", Host: "127.0.0.1:1"}, "socks5"},
		"nobody there":  {&url.URL{Scheme: "http", Host: "127.0.0.1:1"}, "127.0.0.1:1"},
		"wrong way out": {&url.URL{Scheme: "http", Host: p.ln.Addr().String()}, "CONNECT"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := through(tt.proxy).Dial(ctx, p.ln.Addr().String())
		cancel()
		if tunnel.CodeOf(err) != tunnel.CodeUnreachable || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want AUER-1208 with %q", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error names the password", name)
		}
	}
	d := p.dialer()
	d.Proxy = func(string) (*url.URL, error) { return nil, errors.New("no proxy today") }
	if _, err := d.Dial(t.Context(), p.ln.Addr().String()); tunnel.CodeOf(err) != tunnel.CodeUnreachable {
		t.Errorf("without a proxy: %v", err)
	}
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	p := listen(t, muxtun.Config{})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = p.dialer().Dial(ctx, silent.Addr().String())
	if tunnel.CodeOf(err) != tunnel.CodeHandshakeTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
	_, err = p.dialer().Dial(t.Context(), "127.0.0.1:1")
	var op *net.OpError
	if tunnel.CodeOf(err) != tunnel.CodeUnreachable || !errors.As(err, &op) {
		t.Errorf("nobody listens: %v", err)
	}
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	if _, err = p.dialer().Dial(t.Context(), silent.Addr().String()); tunnel.CodeOf(err) != tunnel.CodeUnreachable {
		t.Errorf("a server that hangs up: %v", err)
	}
}

// TestOneWritePerFrame: the header and the body of a frame leave in one piece.
func TestOneWritePerFrame(t *testing.T) {
	t.Parallel()
	p := listen(t, muxtun.Config{})
	count := new(counter)
	d := p.dialer()
	d.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		count.Conn = c
		return count, err
	}
	dialled := make(chan tunnel.Session, 1)
	go func() {
		s, err := d.Dial(context.Background(), p.ln.Addr().String())
		if err != nil {
			t.Error(err)
		}
		dialled <- s
	}()
	server, err := p.ln.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := <-dialled
	a, b := tunneltest.Streams(t, client, server)
	count.n.Store(0)
	const n = 10
	for range n {
		if _, err := a.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadFull(b, make([]byte, n*1000)); err != nil {
		t.Fatal(err)
	}
	if got := count.n.Load(); got != n {
		t.Errorf("%d writes to the connection for %d frames", got, n)
	}
	_ = client.CloseWithError(tunnel.CodeShutdown, "")
	_ = server.CloseWithError(tunnel.CodeShutdown, "")
}

// counter counts the writes to a connection.
type counter struct {
	net.Conn
	n atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(p)
}
