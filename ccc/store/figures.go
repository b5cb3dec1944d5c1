package store

import "time"

// Figures are numbers about all tenants, for those who watch over the control centre.
type Figures struct {
	// Rollouts that have not ended, by their state.
	Rollouts map[RolloutState]int
	// FailingWebhooks are those whose last tries have failed.
	FailingWebhooks int
	// Late are deliveries that are due though nothing is wrong with their webhook, and
	// LateSince is when the first of them was.
	Late      int
	LateSince time.Time
}

// Figures counts them.
func (t *Tx) Figures(now time.Time) (Figures, error) {
	type counted struct {
		state RolloutState
		n     int
	}
	f := Figures{Rollouts: map[RolloutState]int{}}
	all, err := rows(t, func(s scanner) (v counted, err error) {
		err = s.Scan(&v.state, &v.n)
		return v, err
	}, "SELECT state, count(*) FROM rollouts WHERE ended = 0 GROUP BY state")
	if err != nil {
		return f, err
	}
	for _, v := range all {
		f.Rollouts[v.state] = v.n
	}
	if f.FailingWebhooks, err = row(t, value[int], "SELECT count(*) FROM webhooks WHERE enabled AND NOT gone AND failures > 0"); err != nil {
		return f, err
	}
	type late struct {
		n     int
		since moment
	}
	v, err := row(t, func(s scanner) (v late, err error) {
		err = s.Scan(&v.n, &v.since)
		return v, err
	}, `SELECT count(*), coalesce(min(d.due), 0) FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
		WHERE d.due > 0 AND d.due <= $1 AND w.enabled AND NOT w.gone AND w.failures = 0`, now)
	f.Late, f.LateSince = v.n, v.since.Time
	return f, err
}
