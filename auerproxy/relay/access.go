package relay

import (
	"net"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// noteResult notes an access by its error, nil for none.
func (r *Relay) noteResult(from net.Addr, err error) {
	r.cfg.AccessLog.RecordAddr(from, accessClass(tunnel.CodeOf(err)))
}

// accessClass gives the class of an error number in the access log.
func accessClass(code tunnel.Code) accesslog.Class {
	switch code {
	case tunnel.CodeOK:
		return accesslog.OK
	case tunnel.CodeTryLater, tunnel.CodeTooManyStreams, tunnel.CodeRateLimited:
		return accesslog.Limited
	}
	return accesslog.ClassOf(code.Info().HTTPStatus)
}

// refused counts and notes connections that a transport turned away before a hello, by
// transport and reason, e.g. "tcp_busy".
func (r *Relay) refused(t tunnel.Transport) func(from net.Addr, reason string) {
	return func(from net.Addr, reason string) {
		class := accesslog.Refused
		if reason == "busy" || reason == "source_limit" {
			class = accesslog.Limited
		}
		r.cfg.AccessLog.RecordAddr(from, class)
		r.metrics.drops.WithLabelValues(string(t) + "_" + reason).Inc()
	}
}
