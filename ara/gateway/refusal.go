package gateway

import (
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// refusal is why a request is not carried to a PBX, or has got no answer of it.
type refusal struct {
	name   string // of the metric
	status int
	note   func(*texts) note
}

var (
	refusedHost     = refusal{"host", http.StatusMisdirectedRequest, func(t *texts) note { return t.Misdirected }}
	refusedMethod   = refusal{"method", http.StatusMethodNotAllowed, func(t *texts) note { return t.Malformed }}
	refusedUnknown  = refusal{"unknown", http.StatusNotFound, func(t *texts) note { return t.Unknown }}
	refusedOften    = refusal{"often", http.StatusTooManyRequests, func(t *texts) note { return t.Often }}
	refusedLabel    = refusal{"label", http.StatusNotFound, func(t *texts) note { return t.Gone }}
	refusedBrowser  = refusal{"browser", http.StatusForbidden, func(t *texts) note { return t.Browser }}
	refusedForm     = refusal{"form", http.StatusBadRequest, func(t *texts) note { return t.Malformed }}
	refusedGrant    = refusal{"grant", http.StatusForbidden, func(t *texts) note { return t.Grant }}
	refusedSessions = refusal{"sessions", http.StatusTooManyRequests, func(t *texts) note { return t.Sessions }}
	refusedOrigin   = refusal{"origin", http.StatusForbidden, func(t *texts) note { return t.Origin }}
	refusedWorker   = refusal{"worker", http.StatusForbidden, func(t *texts) note { return t.Origin }}
	refusedEnded    = refusal{"ended", http.StatusForbidden, func(t *texts) note { return t.Ended }}
	refusedPending  = refusal{"pending", http.StatusForbidden, func(t *texts) note { return t.Pending }}
	refusedByPBX    = refusal{"pbx", http.StatusForbidden, func(t *texts) note { return t.Pending }}
	refusedStreams  = refusal{"streams", http.StatusServiceUnavailable, func(t *texts) note { return t.Streams }}
	refusedService  = refusal{"service", http.StatusForbidden, func(t *texts) note { return t.Service }}
	refusedRecorded = refusal{"recorded", http.StatusForbidden, func(t *texts) note { return t.Service }}
	refusedUpgrade  = refusal{"upgrade", http.StatusUpgradeRequired, func(t *texts) note { return t.Malformed }}
	failedTimeout   = refusal{"timeout", http.StatusGatewayTimeout, func(t *texts) note { return t.Timeout }}
	failedAnswer    = refusal{"answer", http.StatusBadGateway, func(t *texts) note { return t.Answer }}
)

// refuse answers with a page.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, why refusal) {
	g.metrics.refused.WithLabelValues(why.name).Inc()
	w.Header().Set(flow.RefusedHeader, why.name)
	g.page(w, r, why.status, message(why.note(textOf(r)), ""))
}

// unreachable answers where no call to the PBX could be opened, with the number of the
// error.
func (g *Gateway) unreachable(w http.ResponseWriter, r *http.Request, code tunnel.Code) {
	g.metrics.refused.WithLabelValues("unreachable").Inc()
	w.Header().Set(flow.RefusedHeader, "unreachable")
	status := code.Info().HTTPStatus
	if status < http.StatusInternalServerError {
		status = http.StatusBadGateway
	}
	g.page(w, r, status, message(textOf(r).Unreachable, code.String()))
}
