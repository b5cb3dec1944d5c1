package audit

import (
	"fmt"
	"time"
)

// Kind says what is wrong with a chain.
type Kind string

// The kinds.
const (
	Malformed Kind = "malformed" // it is none of the lines of an export
	Changed   Kind = "changed"   // the hash is not that of the entry
	Missing   Kind = "missing"   // entries before it are not there
	Reordered Kind = "reordered" // entries before it come after it
	Inserted  Kind = "inserted"  // its number is one that was there already
	Forked    Kind = "forked"    // it goes on from another entry than the one before, or a head is of another history
	Truncated Kind = "truncated" // a head is of entries that are not there
	Foreign   Kind = "foreign"   // it is of another tenant
	Backdated Kind = "backdated" // it is older than the entry before
	Unsigned  Kind = "unsigned"  // a head was not signed by service/ccc
)

// Fault is the first thing that is wrong with a chain.
type Fault struct {
	Kind Kind   `json:"kind"`
	Seq  int64  `json:"seq,omitempty"`  // of the entry
	Line int64  `json:"line,omitempty"` // of the export
	Text string `json:"text"`
}

// Error says it in a line.
func (f *Fault) Error() string {
	at := fmt.Sprintf("entry %d", f.Seq)
	if f.Line > 0 {
		at += fmt.Sprintf(" (line %d)", f.Line)
	}
	return fmt.Sprintf("%s: %s: %s", at, f.Kind, f.Text)
}

// Checker looks through the entries of one chain, in their order.
type Checker struct {
	at    Head // where the chain stands
	last  time.Time
	known map[int64]Hash // by heads
	seen  int64          // the last number of which a head is known
}

// NewChecker begins after an entry, or at [Genesis].
func NewChecker(after Head) *Checker {
	return &Checker{at: after, known: map[int64]Hash{}}
}

// Know has the chain compared with a head that was kept. One of what is before the
// beginning says nothing.
func (c *Checker) Know(h Head) *Fault {
	switch hash, twice := c.known[h.Seq]; {
	case h.Tenant != c.at.Tenant:
		return &Fault{Kind: Foreign, Seq: h.Seq, Text: "the head is of the chain of " + h.Tenant}
	case twice && hash != h.Hash:
		return &Fault{Kind: Forked, Seq: h.Seq, Text: "two heads say different things of it"}
	case h.Seq < c.at.Seq:
		return nil
	case h.Seq == c.at.Seq:
		return c.compare(c.at.Seq, c.at.Hash, h.Hash)
	}
	c.known[h.Seq] = h.Hash
	c.seen = max(c.seen, h.Seq)
	return nil
}

func (c *Checker) compare(seq int64, got, want Hash) *Fault {
	if got != want {
		return &Fault{Kind: Forked, Seq: seq, Text: "a head of it that was kept says otherwise: the log was written anew"}
	}
	return nil
}

// Add looks at the next entry; hash is what was kept with it.
func (c *Checker) Add(e Entry, hash Hash) *Fault {
	is, err := e.Sum()
	if err != nil {
		return &Fault{Kind: Malformed, Seq: e.Seq, Text: err.Error()}
	}
	return c.add(e, is, hash)
}

// add is for an entry whose hash is known.
func (c *Checker) add(e Entry, is, hash Hash) *Fault {
	fault := func(kind Kind, text string) *Fault { return &Fault{Kind: kind, Seq: e.Seq, Text: text} }
	switch {
	case is != hash:
		return fault(Changed, "its hash is not that of what it says")
	case e.Tenant != c.at.Tenant:
		return fault(Foreign, "it is of the chain of "+e.Tenant)
	case e.Seq <= c.at.Seq:
		return fault(Inserted, fmt.Sprintf("entry %d was there before it", c.at.Seq))
	case e.Seq > c.at.Seq+1:
		return fault(Missing, fmt.Sprintf("entries %d to %d are not there", c.at.Seq+1, e.Seq-1))
	case e.Prev != c.at.Hash:
		return fault(Forked, "it goes on from another entry than the one before")
	case e.At.Before(c.last):
		return fault(Backdated, "it is older than the one before")
	}
	c.at.Seq, c.at.Hash, c.last = e.Seq, is, e.At
	if want, ok := c.known[e.Seq]; ok {
		return c.compare(e.Seq, is, want)
	}
	return nil
}

// End tells whether entries are missing at the end, of which a head is known.
func (c *Checker) End() *Fault {
	if c.seen > c.at.Seq {
		return &Fault{Kind: Truncated, Seq: c.at.Seq + 1, Text: fmt.Sprintf("a head is of entry %d, and the last one is %d", c.seen, c.at.Seq)}
	}
	return nil
}

// Head is where the chain stands.
func (c *Checker) Head() Head { return c.at }
