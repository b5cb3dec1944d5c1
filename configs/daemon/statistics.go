package daemon

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// serveStatistics gives the anonymous counts of the access log, an [accesslog.Summary]:
// ?by=hour (default) or day, ?days=7. One request is worked on at a time, as a year of
// counts is much to read.
func (d *Daemon) serveStatistics(w http.ResponseWriter, r *http.Request) {
	days, err := 7, error(nil)
	if text := r.FormValue("days"); text != "" {
		days, err = strconv.Atoi(text)
	}
	by := r.FormValue("by")
	if err != nil || days < 1 || days > accesslog.MaxDays || by != "" && by != "hour" && by != "day" {
		http.Error(w, "by is hour or day; days is 1 to "+strconv.Itoa(accesslog.MaxDays), http.StatusBadRequest)
		return
	}
	select {
	case d.counting <- struct{}{}:
		defer func() { <-d.counting }()
	case <-r.Context().Done():
		return
	}
	s, err := d.access.Summarise(r.Context(), days, by == "day")
	switch {
	case errors.Is(err, context.Canceled):
		return
	case err != nil:
		d.log.Error("the counts of accesses cannot be read", "error", err)
		http.Error(w, "the counts cannot be read; the log says why", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, s)
}
