package quictun

import (
	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// CancelWrite sends half of a reset: RESET_STREAM, and no STOP_SENDING.
func CancelWrite(st tunnel.Stream, c tunnel.Code) {
	st.(*stream).quic.CancelWrite(quic.StreamErrorCode(c))
}
