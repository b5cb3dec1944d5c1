package accesslog

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"slices"
	"time"

	"github.com/axiomhq/hyperloglog"
)

// Hour is the begin of a UTC hour, in JSON as in RFC 3339.
type Hour struct{ time.Time }

// Day is the begin of a UTC day, in JSON as in RFC 3339.
type Day struct{ time.Time }

// Stat is one row of the anonymous stream. These are all columns that there are.
type Stat struct {
	Hour    Hour   `json:"hour"`
	Service string `json:"service"`
	Class   Class  `json:"class"`
	Prefix  string `json:"prefix"` // "198.51.0.0/16", "2001:db8::/32" or [Other]
	Count   uint64 `json:"count"`
}

// Visitors is how many different addresses there were in a day, or in the part of it
// since the server's start. These are all columns that there are.
type Visitors struct {
	Day      Day    `json:"day"`
	Service  string `json:"service"`
	Visitors uint64 `json:"visitors"` // 0: fewer than k
}

// cell is a class and a network, packed: class, family, leading bits.
type cell uint64

func cellOf(class Class, a netip.Addr) cell {
	c := cell(class) << 40
	if a.Is4() {
		b := a.As4()
		return c | cell(binary.BigEndian.Uint16(b[:]))
	}
	b := a.As16()
	return c | 1<<32 | cell(binary.BigEndian.Uint32(b[:]))
}

func (c cell) class() Class { return Class(c >> 40) } //nolint:gosec // as packed

func (c cell) prefix() netip.Prefix {
	if c&(1<<32) == 0 {
		var b [4]byte
		binary.BigEndian.PutUint16(b[:], uint16(c)) //nolint:gosec // as packed
		return netip.PrefixFrom(netip.AddrFrom4(b), keep4)
	}
	var b [16]byte
	binary.BigEndian.PutUint32(b[:], uint32(c)) //nolint:gosec // as packed
	return netip.PrefixFrom(netip.AddrFrom16(b), keep6)
}

// row counts one cell in one hour.
type row struct {
	count uint64
	seen  []uint64 // hashes of the first k different addresses
}

// stats is the anonymous stream's part that is still in memory. Owned by the worker.
type stats struct {
	service string
	k, most int

	hours map[int64]*hourStats // by Unix second of the hour

	day    time.Time // that the key is for; zero: none
	secret [32]byte
	mac    hash.Hash // HMAC-SHA256 with secret
	sketch *hyperloglog.Sketch
	sum    []byte // reused
}

type hourStats struct {
	rows  map[cell]*row
	other [classes]uint64
}

func newStats(service string, k, most int) *stats {
	return &stats{service: service, k: k, most: most, hours: map[int64]*hourStats{}}
}

// add counts one access.
func (s *stats) add(e *entry) {
	a := Unwrap(netip.AddrFrom16(e.addr))
	if s.day.IsZero() {
		s.begin(time.Unix(0, e.at).UTC().Truncate(24 * time.Hour))
	}
	b := a.As16()
	s.mac.Reset()
	s.mac.Write(b[:])
	s.sum = s.mac.Sum(s.sum[:0])
	id := binary.BigEndian.Uint64(s.sum)
	s.sketch.InsertHash(id)

	at := e.at / int64(time.Hour) * int64(time.Hour/time.Second)
	h := s.hours[at]
	if h == nil {
		h = &hourStats{rows: map[cell]*row{}}
		s.hours[at] = h
	}
	c := cellOf(e.class, a)
	r := h.rows[c]
	if r == nil {
		if len(h.rows) >= s.most {
			h.other[e.class]++
			return
		}
		r = &row{}
		h.rows[c] = r
	}
	r.count++
	if len(r.seen) < s.k && !slices.Contains(r.seen, id) {
		r.seen = append(r.seen, id)
	}
}

// begin draws the key of a day.
func (s *stats) begin(day time.Time) {
	s.day = day
	_, _ = rand.Read(s.secret[:]) // never fails, see its doc
	s.mac = hmac.New(sha256.New, s.secret[:])
	s.sketch = hyperloglog.New14()
}

// closeDay gives the number of visitors if the day is over, or in any case, and drops
// the key.
func (s *stats) closeDay(now time.Time, always bool) []Visitors {
	if s.day.IsZero() || !always && now.Truncate(24*time.Hour).Equal(s.day) {
		return nil
	}
	v := Visitors{Day: Day{s.day}, Service: s.service, Visitors: s.sketch.Estimate()}
	if v.Visitors < uint64(s.k) { //nolint:gosec // positive
		v.Visitors = 0
	}
	clear(s.secret[:])
	s.day, s.mac, s.sketch = time.Time{}, nil, nil
	return []Visitors{v}
}

// closeHours gives the rows of the hours that are over, or of all, without what is too
// rare, and forgets them.
func (s *stats) closeHours(now time.Time, always bool) []Stat {
	var out []Stat
	current := now.Truncate(time.Hour).Unix()
	for at, h := range s.hours {
		if at == current && !always {
			continue
		}
		delete(s.hours, at)
		out = h.fold(out, Stat{Hour: Hour{time.Unix(at, 0).UTC()}, Service: s.service}, s.k)
	}
	slices.SortFunc(out, func(a, b Stat) int {
		return cmp.Or(a.Hour.Compare(b.Hour.Time), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Prefix, b.Prefix))
	})
	return out
}

// fold appends the rows of an hour.
func (h *hourStats) fold(out []Stat, s Stat, k int) []Stat {
	other := h.other
	for c, r := range h.rows {
		// As many accesses as addresses are implied.
		if len(r.seen) < k {
			other[c.class()] += r.count
			continue
		}
		s.Class, s.Prefix, s.Count = c.class(), c.prefix().String(), r.count
		out = append(out, s)
	}
	for class, n := range other {
		if n > 0 {
			s.Class, s.Prefix, s.Count = Class(class), Other, n //nolint:gosec // one of a few
			out = append(out, s)
		}
	}
	return out
}

// open reports whether an hour is being counted.
func (s *stats) open() bool { return len(s.hours) > 0 }
