package peer

import (
	"context"
	"slices"
)

// All are the contestants, in the order in which they are shown.
func All() []Contestant {
	frp := []string{"frps", "frpc"}
	const pool = 32 // as many connections as are opened at once
	return []Contestant{
		{Name: "direct", Class: None, About: "the bare loopback", start: func(_ context.Context, s *setup) error {
			s.Entry = s.target
			return nil
		}},
		{Name: "nginx", Class: None, About: "stream proxy, no tunnel, no encryption", programs: []string{"nginx"}, start: startNginx},
		{Name: "frp-mux", Class: Same, About: "TLS, tcpMux, pool of 32", programs: frp, start: frpProxy{mux: true, pool: pool}.start},
		{Name: "frp-mux-nopool", Class: Same, About: "TLS, tcpMux, no pool", Variant: true, programs: frp, start: frpProxy{mux: true}.start},
		{Name: "frp-nomux", Class: Same, About: "TLS, a connection each, pool of 32", programs: frp, start: frpProxy{pool: pool}.start},
		{Name: "frp-nomux-nopool", Class: Same, About: "TLS, a connection each, no pool", Variant: true, programs: frp, start: frpProxy{}.start},
		{Name: "frp-quic", Class: Same, About: "QUIC, pool of 32", programs: frp, start: frpProxy{quic: true, pool: pool}.start},
		{Name: "frp-quic-nopool", Class: Same, About: "QUIC, no pool", Variant: true, programs: frp, start: frpProxy{quic: true}.start},
		{Name: "chisel", Class: Same, About: "SSH over WebSocket, reverse port", programs: []string{"chisel"}, start: startChisel},
		{Name: "same-tcp", Class: Same, About: "ours: static entry, tunnel over TLS/TCP", start: ours{transport: "tcp"}.start},
		{Name: "same-quic", Class: Same, About: "ours: static entry, tunnel over QUIC", start: ours{transport: "quic"}.start},
		{Name: "frp-stcp", Class: E2E, About: "stcp with visitor, useEncryption, TLS, tcpMux, pool of 32", programs: frp, start: frpProxy{mux: true, pool: pool}.startSTCP},
		{Name: "frp-stcp-nopool", Class: E2E, About: "stcp with visitor, useEncryption, TLS, tcpMux, no pool", Variant: true, programs: frp, start: frpProxy{mux: true}.startSTCP},
		{Name: "e2e-tcp", Class: E2E, About: "ours: caller by mTLS/TCP, end to end, device by TLS/TCP", start: ours{transport: "tcp", caller: true}.start},
		{Name: "e2e-quic", Class: E2E, About: "ours: caller by QUIC, end to end, device by QUIC", start: ours{transport: "quic", caller: true}.start},
		{Name: "sdk-tcp", Class: E2E, About: "ours: as e2e-tcp, the load generator calls through package dial", start: ours{transport: "tcp", caller: true, sdk: true}.start},
		{Name: "sdk-bulk", Class: E2E, About: "ours: as sdk-tcp, on data connections", start: ours{transport: "tcp", caller: true, sdk: true, bulk: true}.start},
		{Name: "e2e-bulk", Class: E2E, About: "ours: as e2e-tcp, on data connections", start: ours{transport: "tcp", caller: true, bulk: true}.start},
	}
}

// Find gives a contestant by its name.
func Find(name string) (Contestant, bool) {
	all := All()
	i := slices.IndexFunc(all, func(c Contestant) bool { return c.Name == name })
	if i < 0 {
		return Contestant{}, false
	}
	return all[i], true
}
