package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Disk is a directory for a few files.
type Disk interface {
	// Read gives a file's contents; an error wraps fs.ErrNotExist where there is
	// none.
	Read(name string) ([]byte, error)
	// Write replaces a file and syncs its contents. It is not atomic.
	Write(name string, data []byte) error
	// Create replaces a file by what is written to it until Close, which syncs it. It is
	// for files that are not held in memory.
	Create(name string) (io.WriteCloser, error)
	// Rename replaces a file by another, atomically.
	Rename(from, to string) error
	// Remove removes a file. It is no error where there is none.
	Remove(name string) error
	// List gives the names of all files, in no order.
	List() ([]string, error)
	// Sync makes what was renamed and removed survive a crash.
	Sync() error
}

// Dir is a [Disk] in a directory of the file system. The directory is made with the
// first file; directory and files are for the owner alone.
type Dir string

// Read implements [Disk].
func (d Dir) Read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

// Write implements [Disk].
func (d Dir) Write(name string, data []byte) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// Create implements [Disk].
func (d Dir) Create(name string) (io.WriteCloser, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	return synced{f}, err
}

// synced is a file that is synced before it is closed.
type synced struct{ *os.File }

// Close implements [io.Closer].
func (s synced) Close() error { return errors.Join(s.Sync(), s.File.Close()) }

// Rename implements [Disk].
func (d Dir) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

// Remove implements [Disk].
func (d Dir) Remove(name string) error {
	if err := os.Remove(d.path(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List implements [Disk].
func (d Dir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Sync implements [Disk].
func (d Dir) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// Memory is a [Disk] that is forgotten with the process, for simulations of thousands.
// The zero value is empty.
type Memory struct {
	mu    sync.Mutex
	files map[string][]byte // guarded by mu; contents are never changed
}

// Read implements [Disk].
func (m *Memory) Read(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return data, nil
}

// Write implements [Disk].
func (m *Memory) Write(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = make(map[string][]byte)
	}
	m.files[name] = data
	return nil
}

// Create implements [Disk]. There is a file of that name afterwards, and nothing in it:
// thousands of PBXs take firmware that no memory would hold.
func (m *Memory) Create(name string) (io.WriteCloser, error) {
	return forgotten{io.Discard}, m.Write(name, nil)
}

type forgotten struct{ io.Writer }

// Close implements [io.Closer].
func (forgotten) Close() error { return nil }

// Rename implements [Disk].
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[from]
	if !ok {
		return fmt.Errorf("%s: %w", from, fs.ErrNotExist)
	}
	delete(m.files, from)
	m.files[to] = data
	return nil
}

// Remove implements [Disk].
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

// List implements [Disk].
func (m *Memory) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(m.files)), nil
}

// Sync implements [Disk].
func (m *Memory) Sync() error { return nil }
