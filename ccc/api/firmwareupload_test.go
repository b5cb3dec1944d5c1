package api

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// An image that comes ever so slowly, but without a pause, has an end.
func TestSlowImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.rollout.UploadTimeout = time.Second }).serve()
	c := w.operator()
	image := imageOf(t, "1.1.0", maker)
	from, to := io.Pipe()
	const parts = 80 // of 50 ms
	done := make(chan int)
	go func() {
		every := time.NewTicker(50 * time.Millisecond)
		defer every.Stop()
		sent := 0
		for ; sent < parts; sent++ {
			if _, err := to.Write(image[sent : sent+1]); err != nil {
				break
			}
			<-every.C
		}
		_ = to.Close()
		done <- sent
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+Prefix+"/firmware", from)
	w.must(err)
	r.Header.Set("Content-Type", "application/octet-stream")
	resp, err := c.http.Do(r)
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	answer{t, "upload", resp.StatusCode, resp.Header, text}.problem(CodeTimeout)
	w.must(from.Close())
	if n := <-done; n == parts {
		t.Error("it has had all the time that it took")
	}
	c.sendImage(image).want(http.StatusCreated)
}
