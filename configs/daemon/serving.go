package daemon

import (
	"context"
	"errors"
	"net/http"
)

// Serving makes the Run of a component that is a server of net/http's kind: serve blocks
// and ends with [http.ErrServerClosed] once Drain has told the server to end; stop ends
// it at once.
func Serving(serve, stop func() error) func(context.Context) error {
	return func(ctx context.Context) error {
		failed := make(chan error, 1)
		go func() { failed <- serve() }()
		select {
		case err := <-failed:
			if errors.Is(err, http.ErrServerClosed) { // by Drain
				<-ctx.Done()
				return stop()
			}
			return err
		case <-ctx.Done():
			err := stop()
			if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
				err = errors.Join(err, e)
			}
			return err
		}
	}
}
