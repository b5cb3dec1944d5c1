package accesslog

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// benchLog gives a log with a worker that keeps nothing. Calls from all cores at once,
// with nothing between them, may be more than it can take.
func benchLog(b *testing.B, most float64) *Log {
	b.Helper()
	l, err := New(Config{Dir: b.TempDir(), Service: "bench", Queue: maxQueue})
	if err != nil {
		b.Fatal(err)
	}
	// What Run would do, without a disk.
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var scratch []entry
		for {
			select {
			case <-stop:
				return
			case <-l.buffer.wake:
			case <-l.buffer.hurry:
			}
			scratch = l.buffer.drain(scratch[:0])
		}
	}()
	b.Cleanup(func() {
		close(stop)
		<-done
		if lost := float64(l.buffer.lost.Load()) / float64(b.N); lost > most {
			b.Errorf("%.2f of the calls are lost", lost)
		}
	})
	return l
}

func BenchmarkRecord(b *testing.B) {
	l := benchLog(b, 0.01)
	a := addr("2001:db8::1")
	b.ReportAllocs()
	for b.Loop() {
		l.Record(a, OK)
	}
}

func BenchmarkRecordParallel(b *testing.B) {
	l := benchLog(b, 1)
	a := addr("198.51.100.7")
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Record(a, OK)
		}
	})
}

// What the worker does with each access, in the background.
func BenchmarkStats(b *testing.B) {
	s := newStats("bench", 10, 65536)
	e := entry{at: begin.UnixNano(), class: OK}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.addr = minute(i & 0xffff).As16()
		s.add(&e)
	}
}

func BenchmarkHandler(b *testing.B) {
	h := benchLog(b, 1).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkRedact(b *testing.B) {
	for name, line := range map[string]string{
		"plain":   "2026-11-26T09:46:12.123Z [INFO]  auerproxy.relay: session up: peer=device/0123456789 transport=quic epoch=1764150372123\n",
		"address": "2026-11-26T09:46:12.123Z [DEBUG] auerproxy.tcp: handshake failed: error=\"read tcp 127.0.0.1:7844->198.51.100.7:40123: reset\"\n",
		"percent": "2026-11-26T09:46:12.123Z [DEBUG] x: bad request: url=/a%20b?x=%5B2001%3Adb8%3A%3A1%5D%3A443\n",
	} {
		b.Run(name, func(b *testing.B) {
			w := new(Redactor).Writer(io.Discard)
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.WriteString(w, line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Record does not allocate, also while the worker drains.
func TestRecordDoesNotAllocate(t *testing.T) {
	l, err := New(Config{Dir: t.TempDir(), Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	a := addr("2001:db8::1")
	var scratch []entry
	for range 2 { // once for the room
		for range 20000 {
			l.Record(a, OK)
		}
		scratch = l.buffer.drain(scratch[:0])
	}
	if n := testing.AllocsPerRun(5000, func() { l.Record(a, OK) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := len(l.buffer.drain(scratch[:0])); n != 5001 {
		t.Errorf("%d entries", n)
	}
}

// When nobody writes, accesses beyond the queue are counted and nobody waits.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	l, err := New(Config{Dir: t.TempDir(), Service: "test", Queue: minQueue})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 * minQueue {
		l.Record(addr("198.51.100.7"), OK)
	}
	n := len(l.buffer.drain(nil))
	if lost := int(l.buffer.lost.Load()); n > minQueue || n+lost != 10*minQueue { //nolint:gosec // small
		t.Errorf("%d are there, %d lost", n, lost)
	}
	select {
	case <-l.buffer.hurry:
	default:
		t.Error("the worker was not told to hurry")
	}
}
