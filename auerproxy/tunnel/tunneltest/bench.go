package tunneltest

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

const (
	bulkChunk   = 64 << 10 // what a splice writes at once
	requestSize = 200
)

// Bench measures a transport over loopback, both ends in one process: bulk, in
// writes of 64 KiB, and requests and answers of 200 bytes on open streams, and
// calls, which open a stream for each request. Bulk reports the processor time of
// both ends for each gigabyte too.
func Bench(b *testing.B, o Options) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("Bulk/streams=%d", n), func(b *testing.B) { benchBulk(b, o, n) })
	}
	for _, n := range []int{1, 32} {
		b.Run(fmt.Sprintf("Request/streams=%d", n), func(b *testing.B) { benchRequest(b, o, n) })
	}
	b.Run("Call", func(b *testing.B) { benchCall(b, o) })
}

// share is how many of n operations the i-th of so many streams does.
func share(n, i, streams int) int { return (n + i) / streams }

func benchBulk(b *testing.B, o Options, streams int) {
	client, server := Pair(b, o)
	var readers, writers []tunnel.Stream
	for range streams {
		x, y := Streams(b, client, server)
		readers, writers = append(readers, x), append(writers, y)
	}
	b.SetBytes(bulkChunk)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() {
			buf := make([]byte, bulkChunk)
			for range share(b.N, i, streams) {
				if _, err := writers[i].Write(buf); err != nil {
					b.Error(err)
					return
				}
			}
			_ = writers[i].CloseWrite()
		})
		wg.Go(func() {
			buf := make([]byte, bulkChunk)
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, readers[i], buf); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if used := cpuTime() - before; used > 0 {
		b.ReportMetric(used.Seconds()*1e9/(float64(b.N)*bulkChunk), "cpu-s/GB")
	}
	closeAll(readers, writers)
}

func closeAll(lists ...[]tunnel.Stream) {
	for _, list := range lists {
		for _, st := range list {
			_ = st.Close()
		}
	}
}

func benchRequest(b *testing.B, o Options, streams int) {
	client, server := Pair(b, o)
	var near, far []tunnel.Stream
	for range streams {
		x, y := Streams(b, client, server)
		near, far = append(near, x), append(far, y)
	}
	var answers sync.WaitGroup
	for _, st := range far {
		answers.Go(func() {
			buf := make([]byte, requestSize)
			for {
				if _, err := io.ReadFull(st, buf); err != nil {
					return
				}
				if _, err := st.Write(buf); err != nil {
					return
				}
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	var wg sync.WaitGroup
	for i, st := range near {
		wg.Go(func() {
			buf := make([]byte, requestSize)
			for range share(b.N, i, streams) {
				if err := ask(st, buf); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if used := cpuTime() - before; used > 0 {
		b.ReportMetric(float64(used)/float64(time.Microsecond)/float64(b.N), "cpu-us/op")
	}
	closeAll(near)
	answers.Wait()
	closeAll(far)
}

func ask(st tunnel.Stream, buf []byte) error {
	if _, err := st.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(st, buf)
	return err
}

func benchCall(b *testing.B, o Options) {
	client, server := Pair(b, o)
	ctx, cancel := context.WithCancel(context.Background())
	var answers sync.WaitGroup
	answers.Go(func() {
		for {
			st, err := server.Accept(ctx)
			if err != nil {
				return
			}
			answers.Go(func() {
				buf := make([]byte, requestSize)
				if _, err := io.ReadFull(st, buf); err == nil {
					_, _ = st.Write(buf)
				}
				_ = st.Close()
			})
		}
	})
	buf := make([]byte, requestSize)
	b.ReportAllocs()
	for b.Loop() {
		st, err := client.Open(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if err := ask(st, buf); err != nil {
			b.Fatal(err)
		}
		_ = st.Close()
	}
	cancel()
	answers.Wait()
}
