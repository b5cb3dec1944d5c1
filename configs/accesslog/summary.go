package accesslog

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// MaxHours and MaxDays are how far a [Summary] looks back, in days: by the hour, and by the
// day.
const (
	MaxHours = 31
	MaxDays  = 366
)

// Summary is the anonymous stream added up over all networks, for plots.
type Summary struct {
	Service string `json:"service"`
	// Kept tells whether the service keeps an access log. Without, the rest is zero.
	Kept bool      `json:"kept"`
	From time.Time `json:"from"` // the first hour or day
	To   time.Time `json:"to"`   // now
	// Totals are those of hours that are over; see the package doc.
	Totals   []Total    `json:"totals"`
	Visitors []Visitors `json:"visitors"`
	// Oldest is the beginning of the oldest hour of which addresses are kept. Nil: none are.
	Oldest *time.Time `json:"oldest,omitempty"`
	RawFor int64      `json:"raw_for"` // seconds, that addresses are kept at most
	Alarm  bool       `json:"alarm"`   // as in the metrics
}

// Total is how many accesses of one class there were in an hour or a day.
type Total struct {
	Time  time.Time `json:"time"` // the beginning, UTC
	Class Class     `json:"class"`
	Count uint64    `json:"count"`
	Other uint64    `json:"other"` // of these, those that are in no row with a network
}

// Summarise adds up the last days, by the day or by the hour. More than [MaxDays] or
// [MaxHours] is taken for these. It may be called while the log runs.
func (l *Log) Summarise(ctx context.Context, days int, byDay bool) (Summary, error) {
	s := Summary{Totals: []Total{}, Visitors: []Visitors{}}
	if !l.enabled() {
		if l != nil {
			s.Service = l.cfg.Service
		}
		return s, nil
	}
	unit, most := time.Hour, MaxHours
	if byDay {
		unit, most = 24*time.Hour, MaxDays
	}
	s.Service, s.Kept, s.RawFor, s.Alarm = l.cfg.Service, true, int64(l.cfg.RawFor/time.Second), l.alarm() > 0
	s.To = l.cfg.Now().UTC()
	s.From = s.To.Truncate(unit).Add(unit - 24*time.Hour*time.Duration(min(max(days, 1), most)))
	if age := l.age(); l.oldest.Load() != 0 {
		oldest := s.To.Add(-age).Truncate(time.Second)
		s.Oldest = &oldest
	}
	sums := map[Total]Total{} // by time and class
	r := Reader{Dir: l.cfg.Dir}
	for row, err := range r.Stats(s.From, time.Time{}) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return s, missing(err)
		}
		key := Total{Time: row.Hour.Truncate(unit), Class: row.Class}
		sum := sums[key]
		sum.Count += row.Count
		if row.Prefix == Other {
			sum.Other += row.Count
		}
		sums[key] = sum
	}
	for key, sum := range sums {
		s.Totals = append(s.Totals, Total{key.Time, key.Class, sum.Count, sum.Other})
	}
	slices.SortFunc(s.Totals, func(a, b Total) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Class, b.Class)) })
	for v, err := range r.Visitors(s.From.Truncate(24*time.Hour), time.Time{}) {
		if err != nil {
			return s, missing(err)
		}
		if n := len(s.Visitors); n > 0 && s.Visitors[n-1].Day.Equal(v.Day.Time) {
			s.Visitors[n-1].Visitors += v.Visitors // of a restart: an upper bound
			continue
		}
		s.Visitors = append(s.Visitors, v)
	}
	return s, nil
}

// missing is no error: nothing was counted yet.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
