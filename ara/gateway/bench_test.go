package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkProxy is one request and its answer through handler, proxy and a connection to
// the PBX that is kept; without TLS in front.
func BenchmarkProxy(b *testing.B) {
	for _, size := range []int{0, 1 << 10, 1 << 20} {
		body := make([]byte, size)
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			w := newWorld(b, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(body) }), nil)
			c, origin, _ := w.open("http/1.1")
			u := mustURL(b, origin)
			r := httptest.NewRequest(http.MethodGet, origin+"/", nil)
			r.RemoteAddr = "127.0.0.1:1"
			r.TLS.ServerName = u.Hostname()
			for _, k := range c.Jar.Cookies(u) {
				r.AddCookie(k)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				rw := &sink{header: http.Header{}}
				w.g.ServeHTTP(rw, r)
				if rw.status != http.StatusOK || rw.n != size {
					b.Fatalf("%d, %d bytes", rw.status, rw.n)
				}
			}
		})
	}
}

// sink takes an answer.
type sink struct {
	header    http.Header
	status, n int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }
func (s *sink) Flush()                      {}
