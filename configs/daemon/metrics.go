package daemon

import (
	"fmt"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// newRegistry makes a registry with what every process reports.
func newRegistry(name string) (*prometheus.Registry, error) {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "comtrexx_build_info",
		Help: "Always 1; the labels say which program and version runs.",
		ConstLabels: prometheus.Labels{
			"program":    name,
			"version":    configs.Version(),
			"go_version": runtime.Version(),
		},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return r, nil
}
