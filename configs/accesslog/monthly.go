package accesslog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	monthLayout = "2006-01"
	monthExt    = ".jsonl"
	maxLine     = 4096
)

// monthly is a series of files of JSON lines, one for each month.
type monthly struct{ dir, name string }

func (m monthly) path(t time.Time) string {
	return filepath.Join(m.dir, m.name+"-"+t.UTC().Format(monthLayout)+monthExt)
}

// append adds lines to the file of a month: all of them, or none when it fails. What a
// crash left of a line is cut off first.
func (m monthly) append(month time.Time, lines []byte, sync bool) (err error) {
	f, err := os.OpenFile(m.path(month), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	end, err := lastLineEnd(f)
	if err != nil {
		return err
	}
	if err := f.Truncate(end); err != nil {
		return err
	}
	if _, err := f.WriteAt(lines, end); err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	if sync {
		return f.Sync()
	}
	return nil
}

// lastLineEnd gives the offset behind the last newline.
func lastLineEnd(f *os.File) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	tail := make([]byte, min(end, maxLine))
	if _, err := f.ReadAt(tail, end-int64(len(tail))); err != nil {
		return 0, err
	}
	return end - int64(len(tail)) + int64(bytes.LastIndexByte(tail, '\n')+1), nil
}

// files lists the files from one month to another, oldest first.
func (m monthly) files(from, to time.Time) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(m.dir, m.name+"-*"+monthExt))
	if err != nil {
		return nil, err
	}
	first, last := m.path(from), m.path(to)
	all = slices.DeleteFunc(all, func(p string) bool {
		return !from.IsZero() && strings.Compare(p, first) < 0 || !to.IsZero() && strings.Compare(p, last) > 0
	})
	slices.Sort(all)
	return all, nil
}

// last gives the newest line of all, nil where there is none.
func (m monthly) last() ([]byte, error) {
	files, err := m.files(time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, path := range slices.Backward(files) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		if text = bytes.TrimSuffix(text, []byte("\n")); len(text) > 0 {
			return text[bytes.LastIndexByte(text, '\n')+1:], nil
		}
	}
	return nil, nil
}

// readMonthly gives the values in the files from one month to another.
func readMonthly[T any](m monthly, from, to time.Time) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		files, err := m.files(from, to)
		if err != nil {
			yield(zero, err)
			return
		}
		for _, path := range files {
			f, err := os.Open(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(zero, err)
				return
			}
			ended, err := readLines(f, yield)
			if err = errors.Join(err, f.Close()); err != nil {
				yield(zero, fmt.Errorf("%s: %w", path, err))
				return
			}
			if ended {
				return
			}
		}
	}
}

// readLines gives the values of a file until yield returns false. A last line without
// its end is what a crash left, and is no value.
func readLines[T any](src io.Reader, yield func(T, error) bool) (ended bool, err error) {
	r := bufio.NewReaderSize(src, maxLine)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		var v T
		if err == nil {
			err = strict(line, &v)
		}
		if err != nil {
			return true, fmt.Errorf("line %d: %w", n, err)
		}
		if !yield(v, nil) {
			return true, nil
		}
	}
}

// strict decodes one JSON value with the columns of v and no others.
func strict(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// lines encodes values as JSON lines.
func lines[T any](values []T) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, v := range values {
		if err := e.Encode(v); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
