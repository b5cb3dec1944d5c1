package splice_test

import (
	"io"
	"net"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
)

// BenchmarkBulk is one way through a splice of TCP connections, in writes of
// 64 KiB.
func BenchmarkBulk(b *testing.B) {
	a, c := spliced(b)
	go func() {
		buf := make([]byte, splice.MaxChunk)
		for range b.N {
			if _, err := a.Write(buf); err != nil {
				return
			}
		}
		_ = a.(*net.TCPConn).CloseWrite()
	}()
	b.SetBytes(splice.MaxChunk)
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRequest is a request and an answer of so many bytes, one after the
// other.
func BenchmarkRequest(b *testing.B) {
	for name, size := range map[string]int{"200B": 200, "4KiB": 4 << 10} {
		b.Run(name, func(b *testing.B) {
			a, c := spliced(b)
			go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 64<<10)) }()
			buf := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(a, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkJoin is the cost of a splice that carries nothing.
func BenchmarkJoin(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		a, an := pair()
		c, cn := pair()
		_ = a.CloseWrite()
		_ = c.CloseWrite()
		splice.Join(an, cn, splice.Options{})
	}
}

// spliced gives the far ends of two TCP connections joined by a splice.
func spliced(b *testing.B) (net.Conn, net.Conn) {
	b.Helper()
	a, an := tcpPair(b)
	c, cn := tcpPair(b)
	done := make(chan struct{})
	go func() {
		defer close(done)
		splice.Join(an, cn, splice.Options{})
	}()
	b.Cleanup(func() {
		_ = a.Close()
		_ = c.Close()
		<-done
	})
	return a, c
}
