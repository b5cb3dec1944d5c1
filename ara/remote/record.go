package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Recorder is a [Sessions] whose administrator may want terminals recorded. What it gets is
// sealed to a key that he alone has.
type Recorder interface {
	// Recipient gives the age recipient (age-encryption.org/v1, X25519) to which terminals
	// of the session have to be sealed; empty: they are not recorded.
	Recipient(ctx context.Context, id grant.SessionID) (string, error)
	// Record takes one recording, as it is made. The session may end meanwhile.
	Record(ctx context.Context, id grant.SessionID, sealed io.Reader) error
}

const (
	// PathRecording takes a recording: an age file whose plain text is an asciicast v2.
	PathRecording = "/v1/recording"
	mediaAge      = "application/octet-stream"
	// RecordingFor is how long the rest of a recording may take after its end.
	RecordingFor = 30 * time.Second
	maxRecipient = 128
)

// ErrRecording: the PBX takes no recording, or not all of it.
var ErrRecording = errors.New("the PBX takes no recording")

func checkRecipient(s string) error {
	if s == "" {
		return nil
	}
	if len(s) > maxRecipient || !strings.HasPrefix(s, "age1") {
		return fmt.Errorf("%w: recording: is not an age recipient", ErrMalformed)
	}
	return nil
}

// record takes a recording from a request, for as long as it takes.
func record(rec Recorder) func(http.ResponseWriter, *http.Request, grant.SessionID) error {
	return func(w http.ResponseWriter, r *http.Request, id grant.SessionID) error {
		if r.Header.Get("Content-Type") != mediaAge {
			return fmt.Errorf("%w: Content-Type: is not %s", ErrMalformed, mediaAge)
		}
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Time{}) // not with every writer
		_ = rc.SetWriteDeadline(time.Time{})
		if err := rec.Record(r.Context(), id, r.Body); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// Record gives the PBX a recording, to its end. Nothing is read of sealed before the PBX
// has said that it takes it (RFC 9110 §10.1.1), or nothing for a while.
func (c Client) Record(ctx context.Context, sealed io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+ServiceName+PathRecording, sealed)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", mediaAge)
	req.Header.Set("Expect", "100-continue")
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", PathRecording, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s: %w", PathRecording, problemOf(resp))
	}
	return nil
}
