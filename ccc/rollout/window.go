package rollout

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// open tells whether a moment is within the window of a plan; nil: always. A zone that this
// machine does not know any more is that of UTC.
func open(w *store.RolloutWindow, at time.Time) bool {
	if w == nil {
		return true
	}
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		zone = time.UTC
	}
	at = at.In(zone)
	minute := at.Hour()*60 + at.Minute()
	if w.From < w.To {
		return minute >= w.From && minute < w.To
	}
	return minute >= w.From || minute < w.To
}
