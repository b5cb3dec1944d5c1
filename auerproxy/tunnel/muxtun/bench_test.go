package muxtun_test

import (
	"context"
	"io"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// go test -run '^$' -bench . -count 6 ./auerproxy/tunnel/muxtun

func BenchmarkBulk(b *testing.B) {
	client, server := tunneltest.Pair(b, tunneltest.Options{})
	x, y := tunneltest.Streams(b, client, server)
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	go func() {
		for b.Loop() {
			if _, err := x.Write(buf); err != nil {
				b.Error(err)
				break
			}
		}
		_ = x.CloseWrite()
	}()
	if _, err := io.Copy(io.Discard, y); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCall opens a stream, asks, is answered, and closes.
func BenchmarkCall(b *testing.B) {
	client, server := tunneltest.Pair(b, tunneltest.Options{})
	go func() {
		for {
			st, err := server.Accept(context.Background())
			if err != nil {
				return
			}
			go answer(st)
		}
	}()
	ask := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		st, err := client.Open(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		_, _ = st.Write(ask)
		_ = st.CloseWrite()
		if _, err := io.Copy(io.Discard, st); err != nil {
			b.Fatal(err)
		}
		_ = st.Close()
	}
}

func answer(st tunnel.Stream) {
	_, _ = io.Copy(st, st)
	_ = st.Close()
}
