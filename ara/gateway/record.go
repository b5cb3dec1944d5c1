package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"filippo.io/age"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
)

// recording is what a terminal shows, as an asciicast v2
// (https://docs.asciinema.org/manual/asciicast/v2/) that is sealed to the PBX's
// administrator while it is made. What is typed is not in it: a password that the target
// asks for later would be.
type recording struct {
	start  time.Time
	pipe   *io.PipeWriter
	sent   chan error         // how the PBX has taken it
	cancel context.CancelFunc // of the call to the PBX

	mu     sync.Mutex
	sealed io.WriteCloser // guarded by mu
	rest   []byte         // guarded by mu; the beginning of a character
}

// record begins a recording, which ctx bounds the beginning of only. failed is called when
// the PBX takes no more of it.
func (s *session) record(ctx context.Context, recipient string, size heard, failed func()) (*recording, error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, fmt.Errorf("%w: the recipient cannot be used", remote.ErrRecording)
	}
	out, in := io.Pipe()
	r := &recording{start: time.Now(), pipe: in, sent: make(chan error, 1)}
	var call context.Context
	call, r.cancel = context.WithCancel(context.WithoutCancel(ctx)) // its end is after the session's
	defer context.AfterFunc(ctx, r.giveUp)()
	go func() {
		defer r.cancel()
		err := s.pbx.Record(call, out)
		_ = out.CloseWithError(remote.ErrRecording) // where it has not read to the end
		if err != nil {
			failed()
		}
		r.sent <- err
	}()
	if r.sealed, err = age.Encrypt(in, to); err == nil {
		err = r.line(map[string]any{
			"version": 2, "width": size.Columns, "height": size.Rows, "timestamp": r.start.Unix(), "title": s.grant.Target,
		})
	}
	if err != nil {
		_ = in.CloseWithError(err)
		r.cancel()
		<-r.sent //nolint:errcheck // the first error says more
		return nil, err
	}
	return r, nil
}

// giveUp ends it whatever the PBX does, which may read nothing of what was sent.
func (r *recording) giveUp() {
	_ = r.pipe.CloseWithError(remote.ErrRecording)
	r.cancel()
}

// line writes one line of JSON.
func (r *recording) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = r.sealed.Write(append(text, '\n'))
	return err
}

// event writes one of the time that it is now.
func (r *recording) event(kind, text string) error {
	return r.line([]any{json.Number(fmt.Sprintf("%.6f", time.Since(r.start).Seconds())), kind, text})
}

// output notes what is shown. A character that is not complete waits for the rest.
func (r *recording) output(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Concat(r.rest, p)
	cut := len(all)
	for i := 1; i < utf8.UTFMax && i <= len(all); i++ {
		if b := all[len(all)-i]; utf8.RuneStart(b) {
			if !utf8.FullRune(all[len(all)-i:]) {
				cut = len(all) - i
			}
			break
		}
	}
	r.rest = bytes.Clone(all[cut:])
	if cut == 0 {
		return nil
	}
	return r.event("o", string(all[:cut]))
}

// resize notes another size.
func (r *recording) resize(m heard) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.event("r", fmt.Sprintf("%dx%d", m.Columns, m.Rows))
}

// finish ends the recording, and waits until the PBX has it, for a bounded time.
func (r *recording) finish() error {
	t := time.AfterFunc(remote.RecordingFor, r.giveUp)
	defer t.Stop()
	r.mu.Lock()
	err := r.sealed.Close()
	r.mu.Unlock()
	_ = r.pipe.CloseWithError(err) // nil: the end
	if sent := <-r.sent; err == nil {
		err = sent
	}
	return err
}
