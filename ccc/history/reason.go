package history

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
)

// Reason says why a PBX is or was offline. There are no others than these.
type Reason string

// The reasons; the package doc says what they follow from.
const (
	// RelayDrain: its relay was taken out of service, and it did not come back at another.
	RelayDrain Reason = "relay_drain"
	// RelayLost: nothing is heard of its relay. Whether the PBX is online is not known.
	RelayLost Reason = "relay_lost"
	// Lost: no farewell; network or power, which is settled when it is back.
	Lost Reason = "lost"
	// Network: the connection broke, and the PBX had run all the time.
	Network Reason = "network"
	// Power: no farewell, and it was started anew: the power, or a crash.
	Power Reason = "power"
	// Restart: it was started anew soon after its farewell, or before it was missed.
	Restart Reason = "restart"
	// Shutdown: it said farewell, and was not started anew soon.
	Shutdown Reason = "shutdown"
	// CertificateExpired and CertificateBlocked: its certificate is not good any more.
	CertificateExpired Reason = "certificate_expired"
	CertificateBlocked Reason = "certificate_blocked"
	// Replaced: it went to another session that nothing was seen of.
	Replaced Reason = "replaced"
	// Clone: two holders of its certificate were connected at once.
	Clone Reason = "clone"
	// IdleTimeout: the session was not used.
	IdleTimeout Reason = "idle_timeout"
	// Protocol: one side sent what the other did not understand.
	Protocol Reason = "protocol"
	// Operator: an operator of the relay closed the session.
	Operator Reason = "operator"
	// Unknown: nobody saw it, or no relay said.
	Unknown Reason = "unknown"
)

// Reasons are all, in the order above.
func Reasons() []Reason {
	return []Reason{
		RelayDrain, RelayLost, Lost, Network, Power, Restart, Shutdown, CertificateExpired, CertificateBlocked,
		Replaced, Clone, IdleTimeout, Protocol, Operator, Unknown,
	}
}

// RestartWithin is how soon after its farewell a PBX is back that was restarted; after a
// longer time it was shut down.
const RestartWithin = 10 * time.Minute

// ReasonOf gives why a PBX with this status is offline, as far as that is known while it is;
// empty where it is online.
func ReasonOf(s fleet.Status) Reason {
	if s.Online {
		return ""
	}
	switch s.Reason {
	case tunnel.CodeDraining:
		return RelayDrain
	case tunnel.CodeShutdown:
		if s.ByPBX {
			return Shutdown
		}
		return RelayDrain
	case tunnel.CodeUnreachable:
		return RelayLost
	case tunnel.CodeHeartbeatLost, tunnel.CodeSessionLost, tunnel.CodeCancelled, tunnel.CodeReset:
		return Lost
	case tunnel.CodeCertificateExpired:
		return CertificateExpired
	case tunnel.CodeBlocked, tunnel.CodeCertificateRefused:
		return CertificateBlocked
	case tunnel.CodeReplaced:
		return Replaced
	case tunnel.CodeQuarantined, tunnel.CodeCloneSuspected:
		return Clone
	case tunnel.CodeIdle:
		return IdleTimeout
	case tunnel.CodeKicked:
		return Operator
	case tunnel.CodeProtocol, tunnel.CodeVersion, tunnel.CodeMessageTooLarge, tunnel.CodeSlowReader:
		return Protocol
	default:
		return Unknown
	}
}

// settle gives why a PBX was offline that is back, by the starts of its program before and
// after; 0: not known.
func settle(provisional Reason, before, after uint64, away time.Duration) Reason {
	told := before != 0 && after != 0
	switch {
	case provisional == Lost && !told:
		return Unknown
	case provisional == Lost && before == after:
		return Network
	case provisional == Lost:
		return Power
	case provisional == Shutdown && told && before != after && away <= RestartWithin:
		return Restart
	default:
		return provisional
	}
}
