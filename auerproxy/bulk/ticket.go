package bulk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// TicketLen is the length of a ticket in bytes.
const TicketLen = 32

// Ticket is the permission to make one data connection.
type Ticket [TicketLen]byte

// NewTicket makes a random ticket.
func NewTicket() Ticket {
	var t Ticket
	_, _ = rand.Read(t[:]) // crypto/rand never fails since Go 1.24
	return t
}

// ParseTicket reads a ticket from a message.
func ParseTicket(b []byte) (Ticket, error) {
	if len(b) != TicketLen {
		return Ticket{}, fmt.Errorf("a ticket of %d bytes, want %d", len(b), TicketLen)
	}
	return Ticket(b), nil
}

// The start of a data connection: the dialling side sends magic and ticket, the
// relay answers with one byte. No TLS record begins with magic's first byte
// (RFC 8446 §5.1), so that one port serves both.
const (
	magic  = "AUD1"
	answer = 'K'
)

// ErrNoData: what was accepted is no data connection.
var ErrNoData = errors.New("no data connection")

// Open makes a data connection of a fresh connection to a relay, at most until ctx
// ends. On error the connection is closed.
func Open(ctx context.Context, conn net.Conn, t Ticket) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	_, err := conn.Write(append([]byte(magic), t[:]...))
	var got [1]byte
	if err == nil {
		_, err = io.ReadFull(conn, got[:])
	}
	switch {
	case !stop():
		err = context.Cause(ctx)
	case err == nil && got[0] != answer:
		err = fmt.Errorf("%w: the relay answers %#x", ErrNoData, got[0])
	}
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("data connection: %w", err)
	}
	return nil
}

// Accept reads the ticket of a connection whose first byte was read already, and
// is not the start of TLS. The caller sets a deadline.
func Accept(conn io.Reader, first byte) (Ticket, error) {
	var b [len(magic) + TicketLen]byte
	b[0] = first
	if first != magic[0] {
		return Ticket{}, fmt.Errorf("%w: it begins with %#x", ErrNoData, first)
	}
	if _, err := io.ReadFull(conn, b[1:]); err != nil {
		return Ticket{}, fmt.Errorf("%w: %w", ErrNoData, err)
	}
	if string(b[:len(magic)]) != magic {
		return Ticket{}, fmt.Errorf("%w: it begins with %q", ErrNoData, b[:len(magic)])
	}
	return Ticket(b[len(magic):]), nil
}

// Confirm tells the dialling side that its ticket was good.
func Confirm(conn io.Writer) error {
	_, err := conn.Write([]byte{answer})
	return err
}
