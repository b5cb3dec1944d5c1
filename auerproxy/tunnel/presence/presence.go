// Package presence is the stream on which a relay tells a service which devices hold
// a session with it: first all of them, then each change. The bytes are described in
// ../spec.md §11.
//
//	Writer.Write ── sessions, …, complete ──► Reader.Read    (the snapshot)
//	Writer.Write ── sessions ───────────────► Reader.Read    (changes, as they come)
//
// A relay writes, see package relay; a service reads, see dial.Dialer.WatchPresence.
// An address is never among what is told.
package presence

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence/presencepb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Service is the service of a relay that is asked for.
const Service = "presence"

const (
	// MaxSize is the most bytes of one message, without its length prefix. A reader
	// that is told more reads no further.
	MaxSize = 64 << 10
	// PerMessage is how many sessions a writer puts into one message; a message of
	// so many stays below MaxSize.
	PerMessage = 512
)

// SessionID names a session in the records and logs of its relay: the lower-case hex
// form of Welcome.session, 32 characters.
type SessionID string

// Session is one session of a device with a relay.
type Session struct {
	// Device is whose session it is.
	Device identity.Serial
	// Session tells it from all others.
	Session SessionID
	// Epoch is its fencing number: of several sessions of a device the highest is
	// that of the newest.
	Epoch uint64
	// Online says that the session lives. With false it has ended, and Reason says
	// why.
	Online bool
	// Since is when it began or, with Online false, when it ended; by the relay's
	// clock, to the millisecond.
	Since time.Time
	// Transport carries the session; empty where the relay names one that this
	// version does not know.
	Transport tunnel.Transport
	// RTT is the last round trip that the device measured, 0 before the first.
	RTT time.Duration
	// Reason is why the session ended, e.g. [tunnel.CodeHeartbeatLost] after a power
	// cut, [tunnel.CodeBlocked], [tunnel.CodeReplaced] or [tunnel.CodeDraining];
	// [tunnel.CodeOK] while it lives.
	Reason tunnel.Code
	// ByDevice says that the reason is the device's own word, which is good for
	// showing and for nothing else.
	ByDevice bool
	// Instance and Boot tell holders of one certificate apart, as [Tag] of what the
	// device says in its hello; 0: it says nothing. Instance is made at enrolment, Boot
	// at each start of its program.
	Instance, Boot uint64
	// Expires is until when the device's certificate is good that it showed for the session,
	// to the second; zero: the relay does not say.
	Expires time.Time
}

// Tag stands for an id of a hello: by it, ids can be compared and are not known.
func Tag(id []byte) uint64 {
	if len(id) == 0 {
		return 0
	}
	sum := sha256.Sum256(id)
	return binary.BigEndian.Uint64(sum[:])
}

// Writer writes messages. It is for one goroutine.
type Writer struct {
	w    io.Writer
	msg  presencepb.Presence
	pool []*presencepb.PresenceSession // of the messages before
	buf  []byte
}

// NewWriter makes a writer. Each message is one Write on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes sessions in messages of at most [PerMessage]; complete marks the last
// one as the end of the snapshot, and writes one even without a session.
func (w *Writer) Write(sessions []Session, complete bool) error {
	for {
		n := min(len(sessions), PerMessage)
		last := n == len(sessions)
		if n == 0 && !complete {
			return nil
		}
		if err := w.message(sessions[:n], complete && last); err != nil {
			return err
		}
		if last {
			return nil
		}
		sessions = sessions[n:]
	}
}

func (w *Writer) message(sessions []Session, complete bool) error {
	for len(w.pool) < len(sessions) {
		w.pool = append(w.pool, new(presencepb.PresenceSession))
	}
	for i := range sessions {
		if err := encode(w.pool[i], &sessions[i]); err != nil {
			return err
		}
	}
	w.msg.Sessions, w.msg.Complete = w.pool[:len(sessions)], complete
	size := proto.Size(&w.msg)
	if size > MaxSize {
		return tunnel.Errorf(tunnel.CodeMessageTooLarge, "presence message of %d bytes, at most %d allowed", size, MaxSize)
	}
	buf, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(binary.AppendUvarint(w.buf[:0], uint64(size)), &w.msg) //nolint:gosec // a size is not negative
	if err != nil {
		return fmt.Errorf("encode presence: %w", err)
	}
	w.buf = buf
	_, err = w.w.Write(buf)
	return err
}

// encode fills m, all of it.
func encode(m *presencepb.PresenceSession, s *Session) error {
	id := m.GetSession()
	if len(id) != tunnel.IDLen {
		id = make([]byte, tunnel.IDLen)
	}
	if len(s.Session) != hex.EncodedLen(tunnel.IDLen) {
		return fmt.Errorf("session id of %d characters, want %d hex digits", len(s.Session), 2*tunnel.IDLen)
	}
	if _, err := hex.Decode(id, []byte(s.Session)); err != nil {
		return fmt.Errorf("session id %q, want %d hex digits", s.Session, 2*tunnel.IDLen)
	}
	m.Serial, m.Session, m.Epoch = string(s.Device), id, s.Epoch
	m.SinceUnixMs = 0
	if !s.Since.IsZero() {
		m.SinceUnixMs = s.Since.UnixMilli()
	}
	switch s.Transport {
	case tunnel.QUIC:
		m.Transport = presencepb.PresenceTransport_PRESENCE_TRANSPORT_QUIC
	case tunnel.TCP:
		m.Transport = presencepb.PresenceTransport_PRESENCE_TRANSPORT_TCP
	default:
		m.Transport = presencepb.PresenceTransport_PRESENCE_TRANSPORT_UNSPECIFIED
	}
	m.RttUs = uint32(min(max(s.RTT.Microseconds(), 0), math.MaxUint32)) //nolint:gosec // bounded in the same line
	m.Ended, m.Code, m.ByDevice = !s.Online, uint32(s.Reason), s.ByDevice
	m.Instance, m.Boot = s.Instance, s.Boot
	m.ExpiresUnixS = 0
	if !s.Expires.IsZero() {
		m.ExpiresUnixS = uint32(min(max(s.Expires.Unix(), 0), math.MaxUint32)) //nolint:gosec // bounded in the same line
	}
	return nil
}

// Reader reads messages. It is for one goroutine. It keeps [MaxSize] bytes.
type Reader struct {
	r   *bufio.Reader
	msg presencepb.Presence
}

// NewReader makes a reader, which reads ahead.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, MaxSize)} }

// Read waits for the next message and gives its sessions, and whether the snapshot is
// complete with them. io.EOF is the relay's regular end; what breaks the rules of the
// protocol is an error with its number, all else that of the stream.
func (r *Reader) Read() (sessions []Session, complete bool, err error) {
	err = (protodelim.UnmarshalOptions{MaxSize: MaxSize}).UnmarshalFrom(r.r, &r.msg)
	if err != nil {
		return nil, false, readError(err)
	}
	sessions = make([]Session, len(r.msg.GetSessions()))
	for i, m := range r.msg.GetSessions() {
		if err := decode(&sessions[i], m); err != nil {
			return nil, false, err
		}
	}
	return sessions, r.msg.GetComplete(), nil
}

// readError gives an error of decoding its number. Those of the stream have theirs.
func readError(err error) error {
	if _, ok := errors.AsType[*protodelim.SizeTooLargeError](err); ok {
		return tunnel.Errorf(tunnel.CodeMessageTooLarge, "presence: %w", err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, proto.Error) {
		return tunnel.Errorf(tunnel.CodeProtocol, "malformed presence message: %w", err)
	}
	return err
}

func decode(s *Session, m *presencepb.PresenceSession) error {
	serial, err := identity.ParseSerial(m.GetSerial())
	if err != nil {
		return tunnel.Errorf(tunnel.CodeProtocol, "presence.serial: %w", err)
	}
	if len(m.GetSession()) != tunnel.IDLen {
		return tunnel.Errorf(tunnel.CodeProtocol, "presence.session has %d bytes, want %d", len(m.GetSession()), tunnel.IDLen)
	}
	*s = Session{
		Device: serial, Session: SessionID(hex.EncodeToString(m.GetSession())), Epoch: m.GetEpoch(),
		Online: !m.GetEnded(), RTT: time.Duration(m.GetRttUs()) * time.Microsecond,
		Reason: tunnel.Code(m.GetCode()), ByDevice: m.GetByDevice(), Instance: m.GetInstance(), Boot: m.GetBoot(),
	}
	if ms := m.GetSinceUnixMs(); ms != 0 {
		s.Since = time.UnixMilli(ms)
	}
	if sec := m.GetExpiresUnixS(); sec != 0 {
		s.Expires = time.Unix(int64(sec), 0)
	}
	switch m.GetTransport() {
	case presencepb.PresenceTransport_PRESENCE_TRANSPORT_QUIC:
		s.Transport = tunnel.QUIC
	case presencepb.PresenceTransport_PRESENCE_TRANSPORT_TCP:
		s.Transport = tunnel.TCP
	default:
	}
	return nil
}
