package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

var (
	// ErrNotEmpty: the store that is to be filled has something in it.
	ErrNotEmpty = errors.New("the store is not empty")
	// ErrExport: what is to be imported is not a whole, unchanged export.
	ErrExport = errors.New("not a whole export of a PKI's store")
)

const (
	exportFormat  = "pki-store"
	exportVersion = 1
	// maxLine bounds a line of an export: a key and a value, each a third longer in
	// base64, and what is around them.
	maxLine = (MaxValue+MaxKey)/3*4 + 1024
	// loadBytes and loadEntries bound what is given to a store in one piece.
	loadBytes   = 4 << 20
	loadEntries = 4096
)

// An export has a line of JSON for each of these: the header, the entries in the
// order of buckets and keys, the trailer.
type (
	exportHeader struct {
		Format  string    `json:"format"` // exportFormat
		Version int       `json:"version"`
		Time    time.Time `json:"time"`
	}
	exportEntry struct {
		Bucket Bucket `json:"bucket"`
		Key    []byte `json:"key"`   // base64
		Value  []byte `json:"value"` // base64
	}
	exportTrailer struct {
		Entries int `json:"entries"`
		// SHA256 of all lines before this one, in hex.
		SHA256 string `json:"sha256"`
	}
)

// Export writes everything in the store as it is at one moment, as lines of JSON:
//
//	{"format":"pki-store","version":1,"time":"2026-11-26T03:00:00Z"}
//	{"bucket":"certs","key":"MGE=","value":"e30="}     for each key, both in base64
//	{"entries":1,"sha256":"..."}                       of all lines before
//
// It holds a page of entries at a time. What it writes is as secret as the store.
func Export(ctx context.Context, db DB, w io.Writer) error {
	buffer := bufio.NewWriterSize(w, 64<<10)
	e := exporter{out: buffer, sum: sha256.New()}
	if err := e.line(exportHeader{exportFormat, exportVersion, time.Now().UTC().Truncate(time.Second)}); err != nil {
		return err
	}
	err := db.View(ctx, func(tx Tx) error {
		return each(tx, func(b Bucket, en entry) error {
			e.entries++
			return e.line(exportEntry{b, en.key, en.value})
		})
	})
	if err != nil {
		return err
	}
	if err := e.line(exportTrailer{e.entries, hex.EncodeToString(e.sum.Sum(nil))}); err != nil {
		return err
	}
	return buffer.Flush()
}

type exporter struct {
	out     io.Writer
	sum     hash.Hash
	entries int
}

func (e *exporter) line(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	e.sum.Write(line)
	_, err = e.out.Write(line)
	return err
}

// each calls f with all entries, in order of buckets and keys.
func each(tx Tx, f func(Bucket, entry) error) error {
	buckets, err := tx.Buckets()
	if err != nil {
		return err
	}
	for _, b := range buckets {
		err := tx.Scan(b, nil, nil, func(key, value []byte) (bool, error) { return true, f(b, entry{key, value}) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Import fills an empty store with what [Export] wrote. It makes everything at once,
// after the trailer has been read and found right, or nothing: [ErrNotEmpty],
// [ErrExport] with what is wrong. It holds a few MiB at a time. In PostgreSQL other
// changes wait for it.
func Import(ctx context.Context, db DB, r io.Reader) error {
	return fill(ctx, db, func(put func(Bucket, entry) error) error {
		return readExport(r, func(e exportEntry) error { return put(e.Bucket, entry{e.Key, e.Value}) })
	})
}

// Copy fills the empty store dst with what is in src, as [Import] does. progress, if
// it is not nil, is called now and then with the number of entries copied so far.
func Copy(ctx context.Context, dst, src DB, progress func(entries int)) error {
	return src.View(ctx, func(tx Tx) error {
		return fill(ctx, dst, func(put func(Bucket, entry) error) error {
			n := 0
			return each(tx, func(b Bucket, e entry) error {
				if n++; progress != nil && n%loadEntries == 0 {
					progress(n)
				}
				return put(b, e)
			})
		})
	})
}

// readExport calls f with the entries of an export. They are only to be trusted
// when it has given nil.
func readExport(r io.Reader, f func(exportEntry) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	sum := sha256.New()
	var header exportHeader
	line, err := readLine(lines)
	if err != nil {
		return err
	}
	if err := decodeLine(line, &header); err != nil || header.Format != exportFormat {
		return fmt.Errorf("%w: the first line is not the header of one", ErrExport)
	}
	if header.Version != exportVersion {
		return fmt.Errorf("%w: it has version %d, this program reads version %d", ErrExport, header.Version, exportVersion)
	}
	var last exportEntry
	for n := 0; ; n++ {
		sum.Write(line)
		if line, err = readLine(lines); err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte(`{"entries":`)) {
			return readTrailer(lines, line, exportTrailer{n, hex.EncodeToString(sum.Sum(nil))})
		}
		var e exportEntry
		if err := decodeLine(line, &e); err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrExport, n+1, err)
		}
		if err := e.check(last); err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrExport, n+1, err)
		}
		if err := f(e); err != nil {
			return err
		}
		last = e
	}
}

func readTrailer(lines *bufio.Reader, line []byte, want exportTrailer) error {
	var trailer exportTrailer
	if err := decodeLine(line, &trailer); err != nil {
		return fmt.Errorf("%w: trailer: %w", ErrExport, err)
	}
	if trailer.Entries != want.Entries {
		return fmt.Errorf("%w: it has %d entries, and should have %d", ErrExport, want.Entries, trailer.Entries)
	}
	if trailer.SHA256 != want.SHA256 {
		return fmt.Errorf("%w: it was changed: the SHA-256 of its lines is not the one at its end", ErrExport)
	}
	switch _, err := lines.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: there is more after its end", ErrExport)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// readLine gives a line with its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%w: its end is missing", ErrExport)
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxLine:
			return nil, fmt.Errorf("%w: a line is longer than %d bytes", ErrExport, maxLine)
		}
	}
}

// decodeLine is strict: what it does not know could be lost.
func decodeLine(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value in a line")
	}
	return nil
}

// check holds the entry against what a store may have, and against the one before.
func (e exportEntry) check(last exportEntry) error {
	if err := checkEntry(e.Bucket, e.Key, e.Value); err != nil {
		return err
	}
	if e.Value == nil {
		return errors.New("it has no value")
	}
	if e.Bucket < last.Bucket || (e.Bucket == last.Bucket && bytes.Compare(e.Key, last.Key) <= 0) {
		return errors.New("it is not in order")
	}
	return nil
}

// loader fills an empty store. Nothing is to be seen of it before commit.
type loader interface {
	// load adds entries that come after all before. It does not keep them.
	load(ctx context.Context, b Bucket, entries []entry) error
	commit() error
	// abandon takes everything back. It does nothing after commit.
	abandon()
}

// fillable is a [DB] of this package.
type fillable interface {
	// loader fails with [ErrNotEmpty].
	loader(ctx context.Context) (loader, error)
}

// fill fills an empty store with what source puts, in order of buckets and keys.
func fill(ctx context.Context, db DB, source func(put func(Bucket, entry) error) error) error {
	dst, ok := db.(fillable)
	if !ok {
		return fmt.Errorf("a store of type %T cannot be filled", db)
	}
	l, err := dst.loader(ctx)
	if err != nil {
		return err
	}
	defer l.abandon()
	var (
		bucket  Bucket
		entries []entry
		size    int
	)
	flush := func() error {
		if len(entries) == 0 {
			return nil
		}
		err := l.load(ctx, bucket, entries)
		entries, size = entries[:0], 0
		return err
	}
	err = source(func(b Bucket, e entry) error {
		if b != bucket || size >= loadBytes || len(entries) >= loadEntries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
		}
		bucket, entries, size = b, append(entries, e), size+len(e.key)+len(e.value)
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	return l.commit()
}
