package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/bulk"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// seats are the tickets that are out, each with a place for its data connection.
type seats struct {
	mu   sync.Mutex
	free map[bulk.Ticket]*seat // guarded by mu; those without a connection
}

// seat is one side's place in a bulk call.
type seat struct {
	seats  *seats
	ticket bulk.Ticket

	conn *net.TCPConn // guarded by seats.mu; until it is taken
}

// offer makes a seat, which is taken or closed by whoever holds it.
func (s *seats) offer() *seat {
	st := &seat{seats: s, ticket: bulk.NewTicket()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == nil {
		s.free = make(map[bulk.Ticket]*seat)
	}
	s.free[st.ticket] = st
	return st
}

// fill puts a connection on the seat of a ticket, which is void from then on.
func (s *seats) fill(t bulk.Ticket, conn *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.free[t]
	if st == nil {
		return false
	}
	delete(s.free, t)
	st.conn = conn
	return true
}

// take gives the connection on the seat, nil if there is none. The ticket is void.
func (st *seat) take() *net.TCPConn {
	st.seats.mu.Lock()
	defer st.seats.mu.Unlock()
	delete(st.seats.free, st.ticket)
	conn := st.conn
	st.conn = nil
	return conn
}

// close gives the seat up.
func (st *seat) close() {
	if conn := st.take(); conn != nil {
		bulk.Abort(conn)
	}
}

// takeData takes a connection to the TCP port that is not TLS.
func (r *Relay) takeData(ctx context.Context, conn net.Conn, first byte) {
	deadline, _ := ctx.Deadline()
	err := conn.SetDeadline(deadline)
	var ticket bulk.Ticket
	if err == nil {
		ticket, err = bulk.Accept(conn, first)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	tcp, ok := conn.(*net.TCPConn)
	if err != nil || !ok || !r.seats.fill(ticket, tcp) {
		r.metrics.drops.WithLabelValues("data_connection").Inc()
		r.log.Debug("data connection refused", "error", err)
		r.cfg.AccessLog.RecordAddr(conn.RemoteAddr(), accesslog.Refused)
		_ = conn.Close()
		return
	}
	r.cfg.AccessLog.RecordAddr(conn.RemoteAddr(), accesslog.OK)
	_ = bulk.Confirm(conn) // without it the other side goes on in the tunnel
}

// offerData adds a ticket to a preamble that asks for a data connection, and
// takes the wish out of one that cannot have any.
func (r *Relay) offerData(target identity.ID, p *tunnel.Preamble) *seat {
	p.DataTicket = nil
	p.Bulk = p.GetBulk() && !r.cfg.DisableBulk && !r.cfg.DisableTCP &&
		target.Kind == identity.KindDevice && p.GetInner() == tunnelpb.Inner_INNER_TLS
	if !p.GetBulk() {
		return nil
	}
	s := r.seats.offer()
	p.DataTicket = s.ticket[:]
	return s
}

// dataPair are the data connections of a joint: the device's, and the caller's
// seat.
type dataPair struct {
	device *net.TCPConn
	caller *seat
}

// acceptData looks at the device's answer to an offer.
func (r *Relay) acceptData(s *seat, ack *tunnel.OpenAck) (*dataPair, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // a call like any other
	}
	conn := s.take()
	switch {
	case !ack.GetData():
		if conn != nil {
			bulk.Abort(conn)
		}
		r.metrics.bulk.WithLabelValues("no_device").Inc()
		return nil, nil //nolint:nilnil // likewise
	case conn == nil:
		return nil, tunnel.Errorf(tunnel.CodeProtocol, "the device tells of a data connection that is not there")
	default:
		return &dataPair{device: conn, caller: r.seats.offer()}, nil
	}
}

func (d *dataPair) abort() {
	if d != nil {
		bulk.Abort(d.device)
		d.caller.close()
	}
}

// carry copies between the two sides, on their data connections if the caller has
// chosen them.
func (j *joint) carry(caller net.Conn, o splice.Options) splice.Result {
	if j.data == nil {
		return splice.Join(caller, j.stream, o)
	}
	onData, err := bulk.Chosen(caller, j.relay.cfg.Limits.OpenTimeout)
	if err == nil {
		err = bulk.Choose(j.stream, onData)
	}
	var conn *net.TCPConn
	if err == nil && onData {
		if conn = j.data.caller.take(); conn == nil {
			err = tunnel.Errorf(tunnel.CodeProtocol, "the caller tells of a data connection that is not there")
		}
	}
	if err != nil {
		j.data.abort()
		code := splice.CodeOf(err)
		splice.Reset(caller, code)
		j.stream.Reset(code)
		return splice.Result{Reason: code, Err: err}
	}
	if !onData {
		j.relay.metrics.bulk.WithLabelValues("no_caller").Inc()
		j.data.abort()
		return splice.Join(caller, j.stream, o)
	}
	j.relay.metrics.bulk.WithLabelValues("joined").Inc()
	return j.joinData(caller, conn, o)
}

// lastWord is how long the relay waits, after a data connection broke, for the
// tunnel stream beside it to say why.
const lastWord = 250 * time.Millisecond

// joinData joins the two data connections for as long as both tunnel streams live.
func (j *joint) joinData(caller net.Conn, conn *net.TCPConn, o splice.Options) splice.Result {
	ends := make(chan error, 2)
	var watchers sync.WaitGroup
	for _, st := range []net.Conn{caller, j.stream} {
		watchers.Go(func() {
			err := lifeEnd(st)
			if err != nil {
				bulk.Abort(conn)
				bulk.Abort(j.data.device)
			}
			ends <- err
		})
	}
	res := splice.JoinTCP(conn, j.data.device, o)
	if res.Err != nil {
		if res.Reason == tunnel.CodeReset {
			if err := firstError(ends); err != nil {
				res.Reason, res.Err = splice.CodeOf(err), err
			}
		}
		splice.Reset(caller, res.Reason)
		j.stream.Reset(res.Reason)
	} else {
		_ = caller.Close()
		_ = j.stream.Close()
	}
	watchers.Wait()
	return res
}

// firstError waits for an error from one of the tunnel streams.
func firstError(ends <-chan error) error {
	timer := time.NewTimer(lastWord)
	defer timer.Stop()
	for range cap(ends) {
		select {
		case err := <-ends:
			if err != nil {
				return err
			}
		case <-timer.C:
			return nil
		}
	}
	return nil
}

// lifeEnd waits for the end of a tunnel stream that carries nothing. Nil is a
// regular end, which the data connections have too.
func lifeEnd(st net.Conn) error {
	n, err := st.Read(make([]byte, 1))
	switch {
	case n > 0:
		return tunnel.Errorf(tunnel.CodeProtocol, "bytes in the tunnel stream of a data connection")
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return nil
	default:
		return err
	}
}
