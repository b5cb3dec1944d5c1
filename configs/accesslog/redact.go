package accesslog

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"sync"
)

// Mark stands in a log in place of an address.
const Mark = "(address)"

// zeroMark stands in place of a number that holds an address, so that JSON stays JSON.
const zeroMark = "0"

// maxLogLine is where the redactor cuts a line without an end.
const maxLogLine = 256 << 10

// Redactor takes addresses out of text, in every notation that Go's packages print and
// that is told apart from other text:
//
//	198.51.100.7, also with dashes as in reverse names, and with a port
//	2001:db8::1 in every notation of RFC 4291, with zone, brackets, port
//	both percent-encoded (RFC 3986), once or several times
//	[198 51 100 7], []byte{0xc6, 0x33, 0x64, 0x7}: 4 or 16 bytes as a list
//	{hi:0x20010db800000000, lo:0x1} and the like: the inside of a netip.Addr
//	1.0.0.0.(...).8.b.d.0.1.0.0.2.ip6.arpa, 7.100.51.198.in-addr.arpa
//
// What it cannot know is an address as a plain number or as hexadecimal digits alone.
// The zero value shows 127.0.0.1, ::1 and the unspecified addresses.
type Redactor struct {
	// Show is what is not redacted besides. It is not changed after the first use.
	Show []Network
}

// Always shown.
var harmless = []netip.Addr{
	netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback(), netip.IPv4Unspecified(), netip.IPv6Unspecified(),
}

func (r *Redactor) shows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.Contains(harmless, a) || slices.ContainsFunc(r.Show, func(n Network) bool { return n.Contains(a) })
}

// Append appends text to dst without addresses.
func (r *Redactor) Append(dst, text []byte) []byte {
	var s scanner
	s.reset(text)
	done := 0 // of text
	for i := 0; i < len(s.plain); {
		begin, end, a, mark := s.find(i)
		if end < 0 {
			break
		}
		if !r.shows(a) {
			dst = append(dst, text[done:s.at(begin)]...)
			dst = append(dst, mark...)
			done = s.at(end)
		}
		i = end
	}
	return append(dst, text[done:]...)
}

// String gives text without addresses.
func (r *Redactor) String(text string) string { return string(r.Append(nil, []byte(text))) }

// Writer gives a writer that redacts line by line before w. It is safe for concurrent
// use. The end of a line that is not complete is held back until it is, or until Close,
// which does not close w.
func (r *Redactor) Writer(w io.Writer) io.WriteCloser { return &redactingWriter{redactor: r, w: w} }

type redactingWriter struct {
	redactor *Redactor
	w        io.Writer

	mu   sync.Mutex
	rest []byte // guarded by mu; of a line without its end
	out  []byte // guarded by mu; reused
}

// Write takes all of p, or fails.
func (w *redactingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := bytes.LastIndexByte(p, '\n') + 1
	if end == 0 && len(w.rest)+len(p) < maxLogLine {
		w.rest = append(w.rest, p...)
		return len(p), nil
	}
	if end == 0 {
		end = len(p)
	}
	w.out = w.out[:0]
	if len(w.rest) > 0 {
		w.rest = append(w.rest, p[:end]...)
		w.out = w.redactor.Append(w.out, w.rest)
	} else {
		w.out = w.redactor.Append(w.out, p[:end])
	}
	w.rest = append(w.rest[:0], p[end:]...)
	if _, err := w.w.Write(w.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what was held back.
func (w *redactingWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) == 0 {
		return nil
	}
	w.out = w.redactor.Append(w.out[:0], w.rest)
	w.rest = nil
	_, err := w.w.Write(w.out)
	return err
}
