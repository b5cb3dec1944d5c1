package relay

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// life is a session from its welcome to its end. While the peer says nothing it has no
// goroutine but what [tunnel.Control.Await] needs.
type life struct {
	*session

	work   sync.WaitGroup // what the session has started, but for its streams
	stop   func() bool    // takes back what is to happen at the relay's end
	noMore func()         // no stream is accepted any more

	mu     sync.Mutex  // held while the watch on silence is set or lifted
	silent *time.Timer // guarded by mu; ends the session while nobody reads the control stream
}

// serve serves a welcomed session until it has ended. The relay's work goes on as
// long.
func (s *session) serve(ctx context.Context) {
	l := &life{session: s}
	l.work.Add(1)
	l.stop = context.AfterFunc(ctx, func() {
		defer l.work.Done()
		s.end(&tunnel.Error{Code: tunnel.CodeShutdown, Message: "the relay is stopping"})
	})
	l.noMore = s.acceptStreams(ctx, &l.work)
	s.relay.work.Go(func() {
		if !l.rest() {
			l.run()
		}
	})
}

// run answers the control stream while there is something to read.
func (l *life) run() {
	l.wake()
	for l.answer() {
		if l.rest() {
			return
		}
	}
	l.over()
}

// rest has run called when there is something to read; false where there is already.
func (l *life) rest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.control.SetReadDeadline(time.Time{}); err != nil {
		return false
	}
	l.relay.work.Add(1)
	again := func() {
		defer l.relay.work.Done()
		l.run()
	}
	if !l.control.Await(again) {
		l.relay.work.Done()
		return false
	}
	l.work.Add(1)
	if l.silent == nil {
		l.silent = time.AfterFunc(l.relay.silence(), l.fellSilent)
	} else {
		l.silent.Reset(l.relay.silence())
	}
	return true
}

// wake lifts the watch on silence.
func (l *life) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent != nil && l.silent.Stop() {
		l.work.Done()
	}
}

func (l *life) fellSilent() {
	defer l.work.Done()
	l.end(controlError(os.ErrDeadlineExceeded))
}

// answer reads and answers one frame; false at the session's end.
func (l *life) answer() bool {
	if err := l.control.SetReadDeadline(time.Now().Add(l.relay.silence())); err != nil {
		return false
	}
	f, err := l.control.Receive()
	if err != nil {
		if l.ts.Err() == nil {
			l.end(controlError(err))
		}
		return false
	}
	if err := l.handle(f); err != nil {
		l.end(&tunnel.Error{Code: tunnel.CodeHeartbeatLost, Message: "the peer does not read its control stream", Cause: err})
		return false
	}
	return true
}

// over waits for the end of the session and of all that it has started, and accounts
// for it.
func (l *life) over() {
	l.probeMu.Lock()
	l.probes = nil
	l.probeMu.Unlock()
	<-l.ts.Done()
	l.noMore()
	if l.stop() {
		l.work.Done()
	}
	l.work.Wait()
	l.ended()
}
