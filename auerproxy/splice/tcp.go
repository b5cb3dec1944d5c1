package splice

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// tcpChunk is how many bytes the kernel moves between two looks at the deadlines.
const tcpChunk = 256 << 10

// JoinTCP is [Join] for two TCP connections. On Linux the bytes stay in the kernel
// (splice(2)); each direction holds a pipe there, of two file descriptors, while it
// waits. Progress is noticed after each 256 KiB, and at least four times in the
// shortest of the limits; so is a limit. An error resets both connections
// (SO_LINGER 0), so that neither side takes it for the end.
func JoinTCP(a, b *net.TCPConn, o Options) Result {
	j := newJoin(tcpConn{a}, tcpConn{b}, o)
	j.ab.copy, j.ba.copy = newTCPFlow(j, &j.ab).copy, newTCPFlow(j, &j.ba).copy
	return j.wait()
}

// tcpConn is a TCP connection whose Reset is no regular end.
type tcpConn struct{ *net.TCPConn }

// Reset closes the connection with a TCP reset.
func (c tcpConn) Reset(tunnel.Code) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// tcpFlow is a direction whose bytes the kernel moves.
type tcpFlow struct {
	*flow
	src, dst    *net.TCPConn
	chunk       int64
	tick, write time.Duration // never: no deadline
}

func newTCPFlow(j *join, f *flow) *tcpFlow {
	t := &tcpFlow{flow: f, src: f.src.(tcpConn).TCPConn, dst: f.dst.(tcpConn).TCPConn, chunk: tcpChunk, write: j.write} //nolint:forcetypeassert // made by JoinTCP
	if f.limit != nil {
		t.chunk = MaxChunk
	}
	t.tick = min(j.idle, j.halfClosed, j.write)
	if t.tick != never {
		t.tick = max(t.tick/4, time.Millisecond)
	}
	return t
}

// copy is a copier. A chunk that ends at its read deadline has lost nothing: the
// pipe is empty then. One that ends at its write deadline has, and is the end.
func (t *tcpFlow) copy(ctx context.Context) error {
	for {
		writeBy, err := t.arm()
		if err != nil {
			return err
		}
		n, err := io.CopyN(t.dst, t.src, t.chunk)
		if n > 0 {
			t.add(n)
			t.touch()
		}
		late := errors.Is(err, os.ErrDeadlineExceeded)
		switch {
		case err == io.EOF: //nolint:errorlint // io.CopyN gives it bare
			return nil
		case late && (writeBy.IsZero() || time.Now().Before(writeBy)):
			// Nothing to read for a while.
		case late:
			return tunnel.Errorf(tunnel.CodeSlowReader, "a write made no progress for %v", t.write)
		case err != nil:
			return err
		}
		// The bytes are gone already: the limit holds back the next ones.
		if t.limit != nil && n > 0 {
			t.phase.Store(limited)
			if err := t.limit(ctx, int(n)); err != nil {
				return err
			}
			t.phase.Store(reading)
			t.touch()
		}
	}
}

// arm sets the deadlines of the next chunk, of which the one for reading comes
// first unless a write is stuck. writeBy is zero where there is none for writing.
func (t *tcpFlow) arm() (writeBy time.Time, err error) {
	if t.tick == never {
		return time.Time{}, nil
	}
	now := time.Now()
	if err := t.src.SetReadDeadline(now.Add(t.tick)); err != nil || t.write == never {
		return time.Time{}, err
	}
	writeBy = now.Add(t.tick + t.write)
	return writeBy, t.dst.SetWriteDeadline(writeBy)
}
