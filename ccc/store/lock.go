package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrInUse: another process has the database open.
var ErrInUse = errors.New("the database is in use")

// fileLock is a lock (flock(2)) on the file .lock beside SQLite's. Who has the database
// open shares it; who makes the tables or restores a backup has it alone. It ends with
// the process.
type fileLock struct{ f *os.File }

func openLock(path string) (fileLock, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	return fileLock{f}, err
}

func (l fileLock) flock(how int) error {
	for {
		err := unix.Flock(int(l.f.Fd()), how) //nolint:gosec // a file descriptor
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// share lets others share it.
func (l fileLock) share() error { return l.flock(unix.LOCK_SH) }

func (l fileLock) release() { _ = l.f.Close() }

// lockAlone fails with ErrInUse where others have it.
func lockAlone(path string) (fileLock, error) {
	l, err := openLock(path)
	if err != nil {
		return l, err
	}
	err = l.flock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s; stop the program that has it open", ErrInUse, path)
	}
	if err != nil {
		return l, errors.Join(err, l.f.Close())
	}
	return l, nil
}

// lockShared gives the lock alone where nobody has it. Otherwise it shares it, and waits
// for one who has it alone.
func lockShared(path string) (l fileLock, alone bool, err error) {
	l, err = lockAlone(path)
	if !errors.Is(err, ErrInUse) {
		return l, err == nil, err
	}
	if l, err = openLock(path); err != nil {
		return l, false, err
	}
	if err := l.share(); err != nil {
		return l, false, errors.Join(err, l.f.Close())
	}
	return l, false, nil
}
