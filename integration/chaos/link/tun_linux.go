package link

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tun is a TUN device (Documentation/networking/tuntap.rst of the kernel): one
// read or write is one IP packet. It is gone when it is closed.
type tun struct{ *os.File }

// openTUN makes a TUN device in the namespace of the calling thread.
func openTUN(name string) (*tun, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("TUNSETIFF", err), unix.Close(fd))
	}
	// Only now: a descriptor without a device cannot be polled.
	return &tun{os.NewFile(uintptr(fd), path)}, nil
}

// unavailable marks the errors that mean that this machine, or this user, cannot
// have links at all.
func unavailable(err error) error {
	for _, e := range []error{unix.EPERM, unix.EACCES, unix.ENOENT, unix.ENODEV, unix.ENXIO, unix.ENOSYS} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return err
}
