package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// work is one measurement.
type work struct {
	name string
	do   func(ctx context.Context, w *way, d time.Duration) (map[score.Metric]float64, error)
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func kib(after, before uint64) float64 { return (float64(after) - float64(before)) / (1 << 10) }

// request is one of HTTP/1.1, up to its body.
func (v visitor) request(method, path, more string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, v.host)
	if v.cookie != "" {
		fmt.Fprintf(&b, "Cookie: %s\r\n", v.cookie)
	}
	b.WriteString(more + "\r\n")
	return []byte(b.String())
}

// asker makes the same request on one connection again and again. Nothing of it is the
// client library's, so that the client takes little of the processors.
type asker struct {
	conn    *tls.Conn
	r       *bufio.Reader
	request []byte
}

func newAsker(c *tls.Conn, request []byte) *asker {
	return &asker{c, bufio.NewReaderSize(c, chunk), request}
}

// patience is how long an answer may take.
const patience = 10 * time.Second

func (a *asker) ask() error {
	if err := a.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := a.conn.Write(a.request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(a.r, nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || n != pageSize {
		return fmt.Errorf("the answer is %s with %d bytes", resp.Status, n)
	}
	return nil
}

// measured runs a part and gives what the proxy spent meanwhile.
func (w *way) measured(f func() error) (elapsed, cpu time.Duration, err error) {
	before, err := w.proxy.Usage()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	err = f()
	elapsed = time.Since(began)
	after, uerr := w.proxy.Usage()
	return elapsed, after.CPU - before.CPU, errors.Join(err, uerr)
}

// dialAll makes connections.
func (w *way) dialAll(ctx context.Context, n int) ([]*tls.Conn, error) {
	all := make([]*tls.Conn, 0, n)
	for range n {
		c, err := w.dial(ctx)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func closeAll(all []*tls.Conn) {
	for _, c := range all {
		_ = c.Close()
	}
}

// repeat runs what makes one request, so many times at once, and gives the figures.
func (w *way) repeat(d time.Duration, all []func() error) (map[score.Metric]float64, error) {
	for _, one := range all { // nothing is opened in the measured time
		if err := one(); err != nil {
			return nil, err
		}
	}
	h := load.NewHistogram()
	var ops atomic.Int64
	elapsed, cpu, err := w.measured(func() error {
		var g errgroup.Group
		end := time.Now().Add(d)
		for _, one := range all {
			g.Go(func() error {
				for at := time.Now(); at.Before(end); {
					if err := one(); err != nil {
						return err
					}
					now := time.Now()
					h.Add(now.Sub(at))
					ops.Add(1)
					at = now
				}
				return nil
			})
		}
		return g.Wait()
	})
	if err != nil {
		return nil, err
	}
	n, l := float64(ops.Load()), h.Summary()
	return map[score.Metric]float64{
		score.Rate: n / elapsed.Seconds(), score.P50: us(l.P50), score.P99: us(l.P99), score.P999: us(l.P999), score.ProxyOp: us(cpu) / n,
	}, nil
}

// pages asks on so many connections of HTTP/1.1.
func pages(n int) func(context.Context, *way, time.Duration) (map[score.Metric]float64, error) {
	return func(ctx context.Context, w *way, d time.Duration) (map[score.Metric]float64, error) {
		conns, err := w.dialAll(ctx, n)
		if err != nil {
			return nil, err
		}
		defer closeAll(conns)
		all := make([]func() error, n)
		for i, c := range conns {
			all[i] = newAsker(c, w.request(http.MethodGet, pathPage, "")).ask
		}
		return w.repeat(d, all)
	}
}

// h2pages asks so many times at once over HTTP/2.
func h2pages(n int) func(context.Context, *way, time.Duration) (map[score.Metric]float64, error) {
	return func(ctx context.Context, w *way, d time.Duration) (map[score.Metric]float64, error) {
		tr := &http.Transport{TLSClientConfig: w.tls.Clone(), ForceAttemptHTTP2: true, DisableCompression: true, DialContext: w.dialPlain}
		defer tr.CloseIdleConnections()
		all := make([]func() error, n)
		for i := range all {
			all[i] = func() error {
				req, err := w.get(ctx, pathPage)
				if err != nil {
					return err
				}
				resp, err := tr.RoundTrip(req)
				if err != nil {
					return err
				}
				got, err := io.Copy(io.Discard, resp.Body)
				if err := errors.Join(err, resp.Body.Close()); err != nil {
					return err
				}
				if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK || got != pageSize {
					return fmt.Errorf("the answer is %s %s with %d bytes", resp.Proto, resp.Status, got)
				}
				return nil
			}
		}
		return w.repeat(d, all)
	}
}

func (w *way) dialPlain(ctx context.Context, _, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", w.addr)
}

// get is a request for the client library.
func (w *way) get(ctx context.Context, path string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+w.host+path, nil)
	if err == nil && w.cookie != "" {
		req.Header.Set("Cookie", w.cookie)
	}
	return req, err
}

// bulk reads or writes on so many connections. Bytes of an upload count when they are
// written: what is buffered on the way is far less than what flows.
func bulk(n int, up bool) func(context.Context, *way, time.Duration) (map[score.Metric]float64, error) {
	return func(ctx context.Context, w *way, d time.Duration) (map[score.Metric]float64, error) {
		conns, err := w.dialAll(ctx, n)
		if err != nil {
			return nil, err
		}
		defer closeAll(conns)
		request := w.request(http.MethodGet, pathDown, "")
		if up {
			const forever = "Content-Length: 1000000000000\r\nContent-Type: application/octet-stream\r\n"
			request = w.request(http.MethodPost, pathUp, forever)
		}
		for _, c := range conns {
			if err := c.SetDeadline(time.Now().Add(d + patience)); err != nil {
				return nil, err
			}
			if _, err := c.Write(request); err != nil {
				return nil, err
			}
		}
		var bytes atomic.Int64
		elapsed, cpu, err := w.measured(func() error {
			var g errgroup.Group
			end := time.Now().Add(d)
			for _, c := range conns {
				g.Go(func() error {
					move, buf := c.Read, make([]byte, chunk)
					if up {
						move = c.Write
					}
					for time.Now().Before(end) {
						n, err := move(buf)
						if err != nil {
							return err
						}
						bytes.Add(int64(n))
					}
					return nil
				})
			}
			return g.Wait()
		})
		if err != nil {
			return nil, err
		}
		const bits, giga = 8, 1e9
		sum := float64(bytes.Load())
		return map[score.Metric]float64{score.Bits: sum * bits / giga / elapsed.Seconds(), score.ProxyByte: cpu.Seconds() / (sum / giga)}, nil
	}
}

// sockets opens so many WebSockets, uses each once, and measures memory.
func sockets(n int) func(context.Context, *way, time.Duration) (map[score.Metric]float64, error) {
	return func(ctx context.Context, w *way, _ time.Duration) (map[score.Metric]float64, error) {
		before, err := w.proxy.Usage()
		if err != nil {
			return nil, err
		}
		tr := &http.Transport{TLSClientConfig: w.tls.Clone(), DialContext: w.dialPlain}
		defer tr.CloseIdleConnections()
		var header http.Header
		if w.cookie != "" {
			header = http.Header{"Cookie": {w.cookie}}
		}
		for range n {
			c, _, err := websocket.Dial(ctx, "wss://"+w.host+pathEcho, &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}, HTTPHeader: header}) //nolint:bodyclose // the library has closed it
			if err != nil {
				return nil, err
			}
			defer func() { _ = c.CloseNow() }()
			const hello = "hello"
			if err := c.Write(ctx, websocket.MessageText, []byte(hello)); err != nil {
				return nil, err
			}
			if _, text, err := c.Read(ctx); err != nil || string(text) != hello {
				return nil, errors.Join(err, errors.New("the WebSocket does not echo"))
			}
		}
		if err := w.settle(ctx); err != nil {
			return nil, err
		}
		after, err := w.proxy.Usage()
		if err != nil {
			return nil, err
		}
		return map[score.Metric]float64{score.ProxyConn: kib(after.RSS, before.RSS) / float64(n)}, nil
	}
}
