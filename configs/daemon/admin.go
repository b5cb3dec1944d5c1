package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// newMux makes the admin mux with the handlers of the package doc.
func (d *Daemon) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", d.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.registry, promhttp.HandlerOpts{
		ErrorLog: d.log.Named("metrics").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error}),
		Registry: d.registry,
	}))
	mux.HandleFunc("GET /log-level", d.serveLevel)
	mux.HandleFunc("PUT /log-level", d.setLevel)
	mux.HandleFunc("GET /access-log/statistics", d.serveStatistics)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// logLevel is the body of /log-level.
type logLevel struct {
	Level string `json:"level"`
}

func (d *Daemon) serveLevel(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, logLevel{d.log.GetLevel().String()})
}

func (d *Daemon) setLevel(w http.ResponseWriter, r *http.Request) {
	var body logLevel
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1024)).Decode(&body); err != nil {
		http.Error(w, `want {"level":"debug"}`, http.StatusBadRequest)
		return
	}
	level, ok := parseLevel(body.Level)
	if !ok {
		http.Error(w, levelHint, http.StatusBadRequest)
		return
	}
	// Said at a level that is seen before and after.
	d.log.Log(max(level, d.log.GetLevel(), hclog.Info), "log level changes", "from", d.log.GetLevel(), "to", level)
	d.log.SetLevel(level)
	d.serveLevel(w, r)
}

// listenAdmin opens the admin listener. A socket file that no process listens on
// any more, as a killed one leaves behind, is replaced.
func (d *Daemon) listenAdmin(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	path, isUnix := strings.CutPrefix(d.cfg.Admin.Listen, unixPrefix)
	if !isUnix {
		l, err := lc.Listen(ctx, "tcp", d.cfg.Admin.Listen)
		if err != nil {
			return nil, fmt.Errorf("admin listener: %w", err)
		}
		return l, nil
	}
	l, err := lc.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && isStale(ctx, path) {
		if err = os.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) {
			l, err = lc.Listen(ctx, "unix", path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin listener: %w", err), l.Close())
	}
	return l, nil
}

func isStale(ctx context.Context, path string) bool {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// adminGrace is how long requests to the admin listener may go on after their
// context has ended.
const adminGrace = time.Second

// adminComponent opens the admin listener and gives the component that serves
// it.
func (d *Daemon) adminComponent(ctx context.Context) (Component, error) {
	l, err := d.listenAdmin(ctx)
	if err != nil {
		return Component{}, err
	}
	d.mu.Lock()
	d.addr = l.Addr()
	d.mu.Unlock()
	return Component{Name: "admin", Run: func(ctx context.Context) error { return d.serveAdmin(ctx, l) }}, nil
}

// serveAdmin serves the admin listener until ctx ends. Requests see the end of
// ctx, so that a profile or a stream that somebody watches does not hold up the
// end.
func (d *Daemon) serveAdmin(ctx context.Context, l net.Listener) error {
	server := d.newAdminServer()
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminGrace)
	defer cancel()
	err := server.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// newAdminServer makes the admin server. It has no write timeout: profiles and
// handlers that stream take as long as they are asked to.
func (d *Daemon) newAdminServer() *http.Server {
	return &http.Server{
		Handler:           d.guard(http.NewCrossOriginProtection().Handler(d.admin)),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          d.log.Named("admin").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
	}
}

// guard refuses requests whose Host is a name other than localhost: a page in a
// browser on this machine could have its own name resolve to 127.0.0.1 (DNS
// rebinding) and read the answers.
func (d *Daemon) guard(next http.Handler) http.Handler {
	if d.cfg.Admin.AllowRemote || strings.HasPrefix(d.cfg.Admin.Listen, unixPrefix) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(r.Host); err == nil {
			host = h
		}
		if !configs.IsLoopback(strings.Trim(host, "[]")) {
			http.Error(w, "the admin listener answers to its loopback address only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
