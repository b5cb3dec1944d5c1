package accesslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// Delay is how long an access usually is in memory before it is written, so that many
// are written at once.
const Delay = time.Second

// sameTime is how far apart the clocks may have moved within one segment.
const sameTime = time.Minute

// ErrInUse: another process writes to the directory.
var ErrInUse = errors.New("another process writes this access log")

// Log is the access log of one process. Make it with [New]; nil, and one without a
// directory, keep nothing. Record, Handler and Watch are safe for concurrent use.
type Log struct {
	cfg     Config
	log     hclog.Logger
	buffer  *buffer
	metrics *metrics

	last   atomic.Int64          // the time of the last access, microseconds since 1970
	clock  atomic.Pointer[clock] // set by Open
	oldest atomic.Int64          // expiry of the oldest segment, Unix seconds by the log's clock; 0: none

	// Below: owned by Open, Run and Close, of which one runs at a time.
	lock      *os.File
	state     *state
	sweeper   *sweeper
	stats     *stats
	current   *segment
	scratch   []entry
	unwritten []Stat // rows that could not be written yet
	unseen    []Visitors
	troubles  map[string]bool // what fails now
	jumpedAt  time.Time
}

// New checks the configuration. It opens nothing.
func New(cfg Config) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	l := &Log{cfg: cfg, log: cfg.Logger, buffer: newBuffer(cfg.Queue), troubles: map[string]bool{}}
	if !l.enabled() {
		return l, nil
	}
	if cfg.Service == "" || len(cfg.Service) > maxService {
		return nil, fmt.Errorf("access log: the service's name has 1 to %d characters", maxService)
	}
	l.stats = newStats(cfg.Service, cfg.K, cfg.Rows)
	var err error
	l.metrics, err = newMetrics(cfg.Metrics, l)
	return l, err
}

func (l *Log) enabled() bool { return l != nil && l.cfg.Dir != "" }

// Record notes an access at this moment. It takes less than a microsecond and waits for
// nobody. An invalid address, as of a unix socket, is not noted.
func (l *Log) Record(addr netip.Addr, class Class) {
	if l.keeps(addr) {
		l.record(l.stamp(), addr, class)
	}
}

// keeps tells whether accesses of an address are noted.
func (l *Log) keeps(addr netip.Addr) bool { return l.enabled() && addr.IsValid() }

func (l *Log) record(at int64, addr netip.Addr, class Class) {
	if class.valid() {
		l.buffer.put(entry{at: at * int64(time.Microsecond), addr: addr.As16(), class: class})
	}
}

// stamp gives the time of an access, in microseconds since 1970: now, or just after the
// last one. Only where the clock was set back may times come again.
func (l *Log) stamp() int64 {
	now := l.cfg.Now().UnixMicro()
	for {
		last := l.last.Load()
		next := max(now, last+1)
		if last-now > int64(time.Second/time.Microsecond) {
			next = now
		}
		if l.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// RecordAddr is [Log.Record] for the address of a connection.
func (l *Log) RecordAddr(addr net.Addr, class Class) { l.Record(AddrOf(addr), class) }

// AddrOf gives the IP address in a TCP or UDP address, else the zero Addr.
func AddrOf(addr net.Addr) netip.Addr {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr()
	case *net.UDPAddr:
		return a.AddrPort().Addr()
	case nil:
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr()
}

// Open takes the directory and deletes what is too old. Call it before any listener
// opens, then either Run or Close.
func (l *Log) Open() (err error) {
	if !l.enabled() {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("access log: %w", errors.Join(err, l.release()))
		}
	}()
	if err := os.MkdirAll(l.cfg.Dir, 0o700); err != nil {
		return err
	}
	if l.lock, err = lockDir(l.cfg.Dir); err != nil {
		return err
	}
	st, saved, fresh, err := openState(filepath.Join(l.cfg.Dir, stateName), l.cfg.fault)
	if err != nil {
		return err
	}
	l.state = st
	l.clock.Store(newClock(l.cfg.Now, saved))
	if l.sweeper, err = newSweeper(l.cfg.Dir, l.cfg.Service, l.cfg.fault); err != nil {
		return err
	}
	note := ""
	if fresh {
		note = "the keys could not be opened: all segments are deleted"
		l.log.Error("the access log's keys could not be opened; addresses of before are lost", "file", stateName)
	}
	if err = l.sweep(note); errors.Is(err, errRecord) {
		// Nothing is kept for too long; a full disk is no reason not to start.
		l.report("sweep", err)
		err = nil
	}
	return err
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // a file descriptor
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrInUse, dir), f.Close())
	}
	return f, nil
}

// release gives the directory back.
func (l *Log) release() error {
	var err error
	if l.current != nil {
		err = l.current.close()
	}
	if l.state != nil {
		err = errors.Join(err, l.state.close())
	}
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
	}
	l.current, l.state, l.lock = nil, nil, nil
	return err
}

// Run writes what is recorded and deletes what is too old, until ctx ends; then it
// writes what is there and gives the directory back.
func (l *Log) Run(ctx context.Context) error {
	if !l.enabled() {
		<-ctx.Done()
		return nil
	}
	flush, next := time.NewTimer(Delay), time.NewTimer(l.next())
	defer flush.Stop()
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return l.Close()
		case <-l.buffer.wake:
			flush.Reset(Delay)
		case <-l.buffer.hurry:
			_ = l.flush(false) // reported
		case <-flush.C:
			_ = l.flush(false) // reported
		case <-next.C:
			_ = l.flush(false) // reported
			l.report("sweep", l.sweep(""))
			next.Reset(l.next())
		}
	}
}

// Close writes what is there and gives the directory back, in place of Run.
func (l *Log) Close() error {
	if !l.enabled() || l.state == nil {
		return nil
	}
	return errors.Join(l.flush(true), l.state.saveClock(l.now()), l.release())
}

func (l *Log) now() moment { return l.clock.Load().now() }

// next gives the time until there is something to do by itself: the expiry of a
// segment, the end of an hour that is being counted, or a look at the clock.
func (l *Log) next() time.Duration {
	m, d := l.now(), sweepEvery
	if at := l.oldest.Load(); at != 0 {
		d = min(d, time.Unix(at, 0).Sub(m.log))
	}
	if l.stats.open() {
		d = min(d, m.wall.Truncate(time.Hour).Add(time.Hour).Sub(m.wall))
	}
	if len(l.troubles) > 0 { // what could not be done is due already
		d = max(min(d, time.Minute), time.Second)
	}
	return max(d, 10*time.Millisecond)
}

// flush moves what was recorded into both streams, and reports what fails.
func (l *Log) flush(last bool) (all error) {
	l.scratch = l.buffer.drain(l.scratch[:0])
	entries := l.scratch
	slices.SortFunc(entries, func(a, b entry) int { return int(a.at - b.at) })
	m := l.now()
	for i := range entries {
		l.metrics.records.WithLabelValues(entries[i].class.String()).Inc()
		l.stats.add(&entries[i])
	}
	for rest := entries; len(rest) > 0; {
		hour := rest[0].hour()
		n := slices.IndexFunc(rest, func(e entry) bool { return !e.hour().Equal(hour) })
		if n < 0 {
			n = len(rest)
		}
		err := l.writeRaw(hour, rest[:n], m)
		if err != nil {
			l.metrics.lost.WithLabelValues("write").Add(float64(n))
		}
		l.report("raw", err)
		all = errors.Join(all, err)
		rest = rest[n:]
	}
	clear(entries)
	if lost := l.buffer.lost.Swap(0); lost > 0 {
		l.metrics.lost.WithLabelValues("queue").Add(float64(lost))
	}
	if cap(l.scratch) > restCap*shards && len(entries) < cap(l.scratch)/8 {
		l.scratch = nil
	}
	l.unwritten = append(l.unwritten, l.stats.closeHours(m.wall, last)...)
	l.unseen = append(l.unseen, l.stats.closeDay(m.wall, last)...)
	err := l.writeStats()
	l.report("stats", err)
	return errors.Join(all, err)
}

// writeRaw writes entries of one hour.
func (l *Log) writeRaw(hour time.Time, entries []entry, m moment) error {
	if err := l.cfg.fault("raw"); err != nil {
		return err
	}
	// The beginning of the hour by the log's clock, rounded down.
	expires := m.log.Add(hour.Sub(m.wall)).Add(l.cfg.RawFor).Truncate(time.Second)
	if !m.log.Before(expires) {
		return errors.New("accesses of an hour that is too old already")
	}
	if l.current == nil || !l.current.key.suits(hour, expires) {
		if err := l.rotate(hour, expires); err != nil {
			return err
		}
	}
	if err := l.current.append(entries); err != nil {
		return errors.Join(err, l.closeCurrent())
	}
	return nil
}

// suits reports whether entries of the hour, which must be gone at a time, can be in
// the segment.
func (k key) suits(hour, expires time.Time) bool {
	early := expires.Sub(k.expires)
	return k.start.Equal(hour) && early >= 0 && early < sameTime
}

func (l *Log) closeCurrent() error {
	s := l.current
	l.current = nil
	if s == nil {
		return nil
	}
	return s.close()
}

// rotate opens the segment of an hour.
func (l *Log) rotate(hour, expires time.Time) error {
	if err := l.closeCurrent(); err != nil {
		return err
	}
	r := l.state.ring
	i := slices.IndexFunc(r, func(k key) bool { return k.suits(hour, expires) })
	k := key{start: hour, expires: expires}
	if i >= 0 {
		k = r[i]
	} else {
		var err error
		if k.id, k.secret, err = newKey(); err != nil {
			return err
		}
		r = append(slices.Clone(r), k)
		slices.SortFunc(r, func(a, b key) int { return a.expires.Compare(b.expires) })
		// More segments than keys have room: those that expire first go now.
		r = r[max(0, len(r)-maxKeys):]
		if err := l.state.save(r); err != nil {
			return err
		}
		l.setOldest()
	}
	s, err := openSegment(l.cfg.Dir, k, l.cfg.Service)
	if err != nil {
		return err
	}
	l.current = s
	return nil
}

func (l *Log) setOldest() {
	at := int64(0)
	if len(l.state.ring) > 0 {
		at = l.state.ring[0].expires.Unix()
	}
	l.oldest.Store(at)
}

// writeStats writes rows that are complete; those that cannot be written are kept.
func (l *Log) writeStats() error {
	if len(l.unwritten)+len(l.unseen) == 0 {
		return nil
	}
	if err := l.cfg.fault("stats"); err != nil {
		return err
	}
	var err error
	if l.unwritten, err = appendByMonth(monthly{l.cfg.Dir, statsName}, l.unwritten, func(s Stat) time.Time { return s.Hour.Time }); err != nil {
		return err
	}
	l.unseen, err = appendByMonth(monthly{l.cfg.Dir, visitorsName}, l.unseen, func(v Visitors) time.Time { return v.Day.Time })
	return err
}

// appendByMonth writes values, and gives those that were not.
func appendByMonth[T any](m monthly, values []T, at func(T) time.Time) ([]T, error) {
	for len(values) > 0 {
		path := m.path(at(values[0]))
		n := slices.IndexFunc(values, func(v T) bool { return m.path(at(v)) != path })
		if n < 0 {
			n = len(values)
		}
		text, err := lines(values[:n])
		if err == nil {
			err = m.append(at(values[0]), text, true)
		}
		if err != nil {
			return values, err
		}
		values = values[n:]
	}
	return nil, nil
}

// sweep deletes what is too old and saves the clock.
func (l *Log) sweep(note string) error {
	m := l.now()
	if l.clock.Load().tookJump() {
		l.jumpedAt, note = m.log, "the clock jumped forward"
		l.metrics.jumps.Inc()
		l.log.Error("the clock jumped forward by more than an hour; addresses that are too old by it are deleted", "now", m.wall)
	}
	var err error
	if l.current != nil && !m.log.Before(l.current.key.expires) {
		err = l.closeCurrent()
	}
	err = errors.Join(err, l.state.saveClock(m), l.sweeper.sweep(l.state, m.log, note))
	l.setOldest()
	l.metrics.jump.Store(!l.jumpedAt.IsZero() && m.log.Sub(l.jumpedAt) < jumpAlarm)
	return err
}

// report remembers trouble, which raises the alarm, and logs when it begins and ends.
func (l *Log) report(what string, err error) {
	was := l.troubles[what]
	switch {
	case err != nil && !was:
		l.log.Error("the access log cannot be kept as it should", "what", what, "error", err)
	case err == nil && was:
		l.log.Info("the access log is kept again", "what", what)
	}
	if err != nil {
		l.troubles[what] = true
	} else {
		delete(l.troubles, what)
	}
	l.metrics.troubles.Set(float64(len(l.troubles)))
	l.metrics.failing.Store(len(l.troubles) > 0)
}
