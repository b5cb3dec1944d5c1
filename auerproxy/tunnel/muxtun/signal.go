package muxtun

import (
	"encoding/binary"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// yamux has neither a reset with a reason nor a way to say "stop sending". Both,
// and the end of the session with its reason, are signals on a stream of their
// own: the first yamux stream of the session, opened by the client. A signal is
//
//	 0               1                               5
//	+---------------+-------------------------------+---------------
//	| kind (1)      | stream id (4)                 | code (4)  ...
//	+---------------+-------------------------------+---------------
//	 9               11
//	+---------------+---------------------
//	| length (2)    | reason (length bytes)
//	+---------------+---------------------
//
// with integers in network byte order. The reason is UTF-8, empty except in
// signalClose; the stream id of signalClose is 0. An unknown kind is ignored.
type signal struct {
	kind   signalKind
	id     uint32
	code   tunnel.Code
	reason string
}

type signalKind byte

const (
	// signalReset gives up both directions of a stream.
	signalReset signalKind = 1
	// signalStop says that the sender reads no more of a stream.
	signalStop signalKind = 2
	// signalClose ends the session.
	signalClose signalKind = 3
)

const (
	// signalStream is the yamux id of the signalling stream.
	signalStream = 1

	signalHeader = 11
	maxReason    = 1024
)

func (s signal) encode() []byte {
	reason := strings.ToValidUTF8(s.reason[:min(len(s.reason), maxReason)], "")
	b := make([]byte, signalHeader, signalHeader+len(reason))
	b[0] = byte(s.kind)
	binary.BigEndian.PutUint32(b[1:], s.id)
	binary.BigEndian.PutUint32(b[5:], uint32(s.code))
	binary.BigEndian.PutUint16(b[9:], uint16(len(reason))) //nolint:gosec // at most maxReason
	return append(b, reason...)
}

// parseSignal reads the signal at the start of b, and gives its length; 0 when b
// does not hold all of it.
func parseSignal(b []byte) (sig signal, size int, err error) {
	if len(b) < signalHeader {
		return signal{}, 0, nil
	}
	n := int(binary.BigEndian.Uint16(b[9:]))
	if n > maxReason {
		return signal{}, 0, tunnel.Errorf(tunnel.CodeMessageTooLarge, "signal with a reason of %d bytes, at most %d allowed", n, maxReason)
	}
	if size = signalHeader + n; len(b) < size {
		return signal{}, 0, nil
	}
	return signal{
		kind: signalKind(b[0]), id: binary.BigEndian.Uint32(b[1:]), code: tunnel.Code(binary.BigEndian.Uint32(b[5:])),
		reason: strings.ToValidUTF8(string(b[signalHeader:size]), "\uFFFD"),
	}, size, nil
}
