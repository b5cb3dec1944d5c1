package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// figures looks into the database when it is asked: what is there is of all processes, and
// of all tenants. No label names one.
type figures struct{ db *store.DB }

var (
	databaseUp      = prometheus.NewDesc("ccc_database_up", "Whether the database answers.", nil, nil)
	rolloutsOpen    = prometheus.NewDesc("ccc_rollouts", "Rollouts that have not ended, by state.", []string{"state"}, nil)
	webhooksFailing = prometheus.NewDesc("ccc_webhooks_failing", "Webhooks whose last tries have failed.", nil, nil)
	webhooksLate    = prometheus.NewDesc("ccc_webhook_late_seconds", "How long a delivery is due that nothing but this program keeps from being made; 0: none is.", nil, nil)
)

// lookTimeout bounds a look into the database.
const lookTimeout = 5 * time.Second

// Describe implements [prometheus.Collector].
func (figures) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{databaseUp, rolloutsOpen, webhooksFailing, webhooksLate} {
		c <- d
	}
}

// Collect implements [prometheus.Collector]. Where the database does not answer there is that
// alone.
func (f figures) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := time.Now()
	var found store.Figures
	err := f.db.View(ctx, func(tx *store.Tx) (err error) {
		found, err = tx.Figures(now)
		return err
	})
	if err != nil {
		gauge(databaseUp, 0)
		return
	}
	gauge(databaseUp, 1)
	for _, state := range []store.RolloutState{
		store.RolloutChecking, store.RolloutReady, store.RolloutRunning, store.RolloutPaused, store.RolloutHalted, store.RolloutReverting,
	} {
		gauge(rolloutsOpen, float64(found.Rollouts[state]), string(state))
	}
	gauge(webhooksFailing, float64(found.FailingWebhooks))
	late := 0.0
	if found.Late > 0 {
		late = now.Sub(found.LateSince).Seconds()
	}
	gauge(webhooksLate, late)
}
