package quictun

import "github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"

var _ tunnel.Measurer = (*session)(nil)

// Path implements tunnel.Measurer.
func (s *session) Path() (tunnel.Path, bool) {
	st := s.conn.ConnectionStats()
	return tunnel.Path{
		RTT: st.SmoothedRTT, MinRTT: st.MinRTT, Sent: st.PacketsSent, Lost: st.PacketsLost,
		Rate: tunnel.RateOf(st.CongestionWindow, st.SmoothedRTT),
	}, st.SmoothedRTT > 0
}
