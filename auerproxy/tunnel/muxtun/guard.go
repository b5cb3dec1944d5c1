package muxtun

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// yamux header (its spec.md): version, type, flags (2), stream id (4), length (4).
const (
	muxHeader   = 12
	muxTypeData = 0
	muxTypePing = 2
	muxFlagSYN  = 1
	muxFlagFIN  = 4
	muxFlagRST  = 8
	muxTypeAt   = 1
	muxFlagsAt  = 2
	muxStreamAt = 4
	muxLengthAt = 8
)

// guard looks at the yamux frames that the peer sends, and refuses what yamux
// would let through: pings, each of which would cost a goroutine, new streams with
// an id of this side, and the end of the signalling stream.
type guard struct {
	client bool   // this side
	hear   func() // called after signals has grown; may be nil
	opens  func() // called when the peer opens a stream, but for that of signals; may be nil

	// stirs is called, while awaiting is not 0, for a stream other than that of
	// signals whose reader is about to be told something. May be nil.
	stirs    func(id uint32)
	awaiting atomic.Int32

	header [muxHeader]byte
	have   int    // bytes of header that are there
	body   uint32 // bytes of the frame's body still to come
	count  uint32 // bytes to be added to signals when the body is complete

	// signals counts the bytes of the signalling stream that have arrived, in whole
	// frames.
	signals atomic.Int64
}

// see looks at the next bytes of the connection.
func (g *guard) see(p []byte) error {
	for len(p) > 0 {
		if g.body > 0 {
			n := min(len(p), int(g.body))
			p = p[n:]
			g.body -= uint32(n) //nolint:gosec // at most body
			if g.body == 0 && g.count > 0 {
				g.signals.Add(int64(g.count))
				if g.hear != nil {
					g.hear()
				}
			}
			continue
		}
		n := copy(g.header[g.have:], p)
		p = p[n:]
		if g.have += n; g.have < muxHeader {
			return nil
		}
		g.have = 0
		if err := g.frame(); err != nil {
			return err
		}
	}
	return nil
}

// frame checks a complete header.
func (g *guard) frame() error {
	flags := binary.BigEndian.Uint16(g.header[muxFlagsAt:])
	id := binary.BigEndian.Uint32(g.header[muxStreamAt:])
	switch {
	case g.header[muxTypeAt] == muxTypePing:
		return &tunnel.Error{Code: tunnel.CodeProtocol, Message: "a ping"}
	case flags&muxFlagSYN != 0 && (id == 0 || (id%2 == 0) != g.client):
		return &tunnel.Error{Code: tunnel.CodeProtocol, Message: fmt.Sprintf("new stream with id %d", id)}
	case flags&(muxFlagFIN|muxFlagRST) != 0 && id == signalStream:
		return &tunnel.Error{Code: tunnel.CodeProtocol, Message: "the end of the signalling stream"}
	case g.header[muxTypeAt] == muxTypeData:
		g.body, g.count = binary.BigEndian.Uint32(g.header[muxLengthAt:]), 0
		if id == signalStream {
			g.count = g.body
		}
	}
	if (g.body > 0 || flags&(muxFlagFIN|muxFlagRST) != 0) && id != signalStream && g.awaiting.Load() > 0 && g.stirs != nil {
		g.stirs(id)
	}
	if flags&muxFlagSYN != 0 && id != signalStream && g.opens != nil {
		g.opens()
	}
	return nil
}
