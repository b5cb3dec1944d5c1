//go:build !linux

package splice

import "syscall"

// Poller waits for many sockets in one goroutine, on Linux.
type Poller struct{}

// NewPoller gives nil here, which [Options] take too.
func NewPoller() (*Poller, error) { return nil, nil } //nolint:nilnil // see above

// Close does nothing.
func (p *Poller) Close() error { return nil }

func (p *Poller) wait(syscall.Conn, func()) (cancel func(), ok bool) { return nil, false }
