package accesslog

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const (
	statsName    = "stats"
	visitorsName = "visitors"
)

// Reader reads a log, also while a process writes it. It changes nothing.
type Reader struct {
	// Dir is the directory of the log.
	Dir string
	// Now is the system's clock. Default: time.Now. For tests.
	Now func() time.Time
}

// Raw gives the accesses of the raw stream from one time to another, hour by hour; the
// zero time is no bound. It gives nothing that is too old, whether it was deleted or
// not. After an error there is nothing more.
func (r Reader) Raw(from, to time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		system := r.Now
		if system == nil {
			system = time.Now
		}
		keys, saved, err := readState(filepath.Join(r.Dir, stateName))
		if err != nil {
			yield(Record{}, fmt.Errorf("access log: %w", err))
			return
		}
		now := newClock(system, saved).now().log
		slices.SortFunc(keys, byStart)
		for _, k := range keys {
			if !now.Before(k.expires) || !from.IsZero() && k.start.Add(time.Hour).Before(from) || !to.IsZero() && !k.start.Before(to) {
				continue
			}
			more := true
			err := r.segment(k, func(rec Record) bool {
				if !from.IsZero() && rec.Time.Before(from) || !to.IsZero() && !rec.Time.Before(to) {
					return true
				}
				more = yield(rec, nil)
				return more
			})
			if err != nil {
				yield(Record{}, fmt.Errorf("access log: %s: %w", segmentName(k), err))
				return
			}
			if !more {
				return
			}
		}
	}
}

// At finds the access that a [Reference] names. It is not found once the log keeps it no
// longer.
func (r Reader) At(reference string) (rec Record, found bool, err error) {
	at, err := strconv.ParseInt(reference, 10, 64)
	if err != nil || at < 0 || len(reference) != 16 {
		return rec, false, errors.New("access log: a reference has 16 digits")
	}
	from := time.UnixMicro(at)
	for rec, err := range r.Raw(from, from.Add(time.Microsecond)) {
		return rec, err == nil, err
	}
	return rec, false, nil
}

// segment reads one file. That it is gone, or ends within a chunk, is no error: it may
// be written or deleted at this moment.
func (r Reader) segment(k key, yield func(Record) bool) error {
	f, err := os.Open(filepath.Join(r.Dir, segmentName(k)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err = readSegment(f, k, yield); errors.Is(err, ErrTorn) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Stats gives the rows of the anonymous stream from one hour to another; the zero time
// is no bound. Rows with the same key add up. After an error there is nothing more.
func (r Reader) Stats(from, to time.Time) iter.Seq2[Stat, error] {
	return within(readMonthly[Stat](monthly{r.Dir, statsName}, from, to), from, to, func(s Stat) time.Time { return s.Hour.Time })
}

// Visitors gives the numbers of visitors from one day to another, likewise.
func (r Reader) Visitors(from, to time.Time) iter.Seq2[Visitors, error] {
	return within(readMonthly[Visitors](monthly{r.Dir, visitorsName}, from, to), from, to, func(v Visitors) time.Time { return v.Day.Time })
}

func within[T any](all iter.Seq2[T, error], from, to time.Time, at func(T) time.Time) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range all {
			if err == nil && (!from.IsZero() && at(v).Before(from) || !to.IsZero() && !at(v).Before(to)) {
				continue
			}
			if !yield(v, err) {
				return
			}
		}
	}
}
