package relay

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// record is one session record: tunnel accounting, one JSON object per line. It
// has no field for payload and none for an address.
type record struct {
	// Kind is tunnel, stream or refused.
	Kind string `json:"kind"`
	// Target is the path of the endpoint: device/<serial> or service/<name>.
	Target  string `json:"target"`
	Service string `json:"service,omitempty"`
	Caller  string `json:"caller,omitempty"`
	// Request and Session are ids, in hex.
	Request string    `json:"request,omitempty"`
	Session string    `json:"session,omitempty"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	// Bytes towards the target and towards the caller.
	ToTarget int64 `json:"to_target"`
	ToCaller int64 `json:"to_caller"`
	// Code is why it ended; 0 is the ordinary end.
	Code   tunnel.Code `json:"code"`
	Reason string      `json:"reason"`
}

// recorder writes records into one file per UTC day, records/<date>.jsonl in the
// state directory, and deletes the files whose day has been over for longer than
// the retention. It writes once a second, or when half of the queue is full: to wake it
// for each record would cost more than the record.
type recorder struct {
	dir       string // empty: nothing is kept
	retention time.Duration
	limit     int           // of queue
	full      chan struct{} // has an element once half of the queue is full
	metrics   *metrics
	log       hclog.Logger

	mu    sync.Mutex
	queue []record // guarded by mu

	// The rest is owned by run.
	spare []record // the queue before this one, written
	file  *os.File
	buf   *bufio.Writer
	day   string
}

const recordDay = "2006-01-02"

func newRecorder(stateDir string, cfg Records, m *metrics, log hclog.Logger) *recorder {
	rec := &recorder{retention: cfg.Retention, limit: cfg.Queue, full: make(chan struct{}, 1), metrics: m, log: log}
	if stateDir != "" && cfg.Retention > 0 {
		rec.dir = filepath.Join(stateDir, "records")
	}
	return rec
}

// add queues a record and never blocks: where the disk is too slow, records are
// dropped and counted.
func (rec *recorder) add(r record) {
	if rec.dir == "" {
		return
	}
	r.End = time.Now()
	r.Reason = r.Code.Info().Name
	rec.mu.Lock()
	n := len(rec.queue)
	if n < rec.limit {
		rec.queue = append(rec.queue, r)
	}
	rec.mu.Unlock()
	switch {
	case n >= rec.limit:
		rec.metrics.drops.WithLabelValues("record").Inc()
	case n == rec.limit/2:
		select {
		case rec.full <- struct{}{}:
		default:
		}
	}
}

// start deletes old records and begins to write new ones. The returned function
// writes what is still queued and ends the writing.
func (rec *recorder) start() (stop func(), err error) {
	if rec.dir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(rec.dir, 0o700); err != nil {
		return nil, fmt.Errorf("session records: %w", err)
	}
	if err := rec.sweep(time.Now()); err != nil {
		return nil, fmt.Errorf("session records: %w", err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		rec.run(quit)
	}()
	return func() {
		close(quit)
		<-done
	}, nil
}

func (rec *recorder) run(quit <-chan struct{}) {
	flush := time.NewTicker(time.Second)
	defer flush.Stop()
	for {
		select {
		case <-rec.full:
			rec.writeQueue()
		case now := <-flush.C:
			// Also without records, so that the sweep at midnight is not missed.
			rec.writeQueue()
			rec.check(rec.roll(now))
			if rec.buf != nil {
				rec.check(rec.buf.Flush())
			}
		case <-quit:
			rec.writeQueue()
			rec.check(rec.close())
			return
		}
	}
}

// writeQueue writes what is queued.
func (rec *recorder) writeQueue() {
	rec.mu.Lock()
	queue := rec.queue
	rec.queue = rec.spare[:0]
	rec.mu.Unlock()
	for _, r := range queue {
		rec.write(r)
	}
	clear(queue)
	rec.spare = queue
}

func (rec *recorder) write(r record) {
	line, err := json.Marshal(r)
	if err == nil {
		err = rec.roll(r.End)
	}
	if err == nil {
		_, err = rec.buf.Write(append(line, '\n'))
	}
	rec.check(err)
}

// check counts and reports a record that could not be written; calls go on.
func (rec *recorder) check(err error) {
	if err != nil {
		rec.metrics.drops.WithLabelValues("record_disk").Inc()
		rec.log.Error("session record not written", "error", err)
	}
}

// roll makes the file of now's day current, and sweeps when a day begins.
func (rec *recorder) roll(now time.Time) error {
	day := now.UTC().Format(recordDay)
	if day == rec.day {
		return nil
	}
	if err := rec.close(); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(rec.dir, day+".jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	rec.file, rec.buf, rec.day = f, bufio.NewWriter(f), day
	return rec.sweep(now)
}

func (rec *recorder) close() error {
	if rec.file == nil {
		return nil
	}
	err := errors.Join(rec.buf.Flush(), rec.file.Close())
	rec.file, rec.buf, rec.day = nil, nil, ""
	return err
}

// sweep deletes the files of days that ended longer ago than the retention.
func (rec *recorder) sweep(now time.Time) error {
	entries, err := os.ReadDir(rec.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		day, err := time.Parse(recordDay, strings.TrimSuffix(e.Name(), ".jsonl"))
		if err != nil || now.Sub(day.AddDate(0, 0, 1)) <= rec.retention {
			continue
		}
		if err := os.Remove(filepath.Join(rec.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
