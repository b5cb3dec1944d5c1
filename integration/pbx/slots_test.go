package pbx

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// slotEnded is the state of a slot whose session or attempt ended with the code.
func slotEnded(code tunnel.Code) agent.SlotStatus {
	return agent.SlotStatus{State: agent.StateRefused, Since: time.Now(), LastCode: code}
}

func slotOnline() agent.SlotStatus {
	return agent.SlotStatus{State: agent.StateOnline, Since: time.Now(), Session: time.Now().String(), LastCode: tunnel.CodeCertificateRefused}
}
