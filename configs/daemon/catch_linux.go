package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// maxCrash is how much of a panic's text is logged.
const maxCrash = 64 << 10

// catch puts a pipe in the place of standard error, and the redactor behind it. The
// runtime writes a panic to both that, where nobody reads it any more, and to the file.
func (o *output) catch(path string) (restore func(), err error) {
	crash, err := o.openCrash(path)
	if err != nil {
		return nil, err
	}
	stderr, r, err := replaceStderr()
	if err == nil {
		err = debug.SetCrashOutput(crash, debug.CrashOptions{})
	}
	// The runtime has a descriptor of its own.
	if err = errors.Join(err, crash.Close()); err != nil {
		return nil, fmt.Errorf("catch standard error: %w", err)
	}
	o.redirect(stderr)
	caught := o.redactor.Writer(stderr)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Where standard error is gone there is nobody to tell.
		_, _ = io.Copy(caught, r)
		_ = caught.Close()
	}()
	return func() {
		_ = unix.Dup3(int(stderr.Fd()), unix.Stderr, 0) //nolint:gosec // a descriptor; ends the pipe
		<-done
		o.redirect(os.Stderr)
		_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
		_ = r.Close()
		_ = stderr.Close()
	}, nil
}

// openCrash takes what the run before has left, and empties the file.
func (o *output) openCrash(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCrash))
	if err = errors.Join(err, f.Truncate(0)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.crash = string(text)
	return f, nil
}

// replaceStderr gives standard error as it was, and what is written to its place.
func replaceStderr() (stderr, r *os.File, err error) {
	fd, err := unix.FcntlInt(uintptr(unix.Stderr), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, nil, err
	}
	stderr = os.NewFile(uintptr(fd), "stderr") //nolint:gosec // a descriptor
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, stderr.Close())
	}
	// A pipe that is full must not keep a panic from ending the process.
	wfd := int(w.Fd()) //nolint:gosec // a descriptor
	err = errors.Join(unix.Dup3(wfd, unix.Stderr, 0), unix.SetNonblock(unix.Stderr, true), w.Close())
	if err != nil {
		return nil, nil, errors.Join(err, stderr.Close(), r.Close())
	}
	return stderr, r, nil
}
