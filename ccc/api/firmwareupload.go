package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// imageType is the media type of images.
const imageType = "application/octet-stream"

// imageBody is an image in the document. Huma would read all of it into memory.
var imageBody = &huma.RequestBody{
	Required: true, Content: map[string]*huma.MediaType{imageType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
}

// imageInput is a request with an image, which comes while it is dealt with.
type imageInput struct {
	Type string `header:"Content-Type" maxLength:"200" doc:"application/octet-stream"`

	body    io.Reader
	control *http.ResponseController
	patient *patient
}

// Resolve takes the body. Huma calls it.
func (in *imageInput) Resolve(ctx huma.Context) []error {
	_, w := humago.Unwrap(ctx)
	in.body, in.control = ctx.BodyReader(), http.NewResponseController(w)
	return nil
}

func (in *imageInput) isImage() error {
	if kind, _, err := mime.ParseMediaType(in.Type); err != nil || kind != imageType {
		return problem(CodeMediaType, imageType+" is wanted")
	}
	return nil
}

// from gives the body, which may take long as long as it goes on, but no longer than total.
func (in *imageInput) from(pause, total time.Duration) io.Reader {
	in.patient = &patient{from: in.body, control: in.control, pause: pause, end: time.Now().Add(total)}
	return in.patient
}

// over bounds the time for the answer.
func (in *imageInput) over(pause time.Duration) { in.patient.extend(time.Now().Add(pause)) }

// broken is the problem of a body that has not come whole; nil where it has.
func (in *imageInput) broken() error {
	_, tooLarge := errors.AsType[*http.MaxBytesError](in.patient.err)
	switch {
	case in.patient.err == nil || errors.Is(in.patient.err, io.EOF):
		return nil
	case tooLarge:
		return problem(CodeTooLarge, "the image is larger than rollout.firmware_max_size")
	case errors.Is(in.patient.err, os.ErrDeadlineExceeded):
		return problem(CodeTimeout, "")
	}
	return problem(CodeMalformed, "the image has not come whole")
}

// patient reads a body whose every part has the same time to come, up to an end.
type patient struct {
	from    io.Reader
	control *http.ResponseController
	pause   time.Duration
	end     time.Time
	err     error // of the last Read
}

// Read implements [io.Reader].
func (p *patient) Read(b []byte) (n int, err error) {
	until := time.Now().Add(p.pause)
	if p.end.Before(until) {
		until = p.end
	}
	p.extend(until)
	n, p.err = p.from.Read(b)
	return n, p.err
}

// extend sets the deadlines anew. Some writers have none: those of tests.
func (p *patient) extend(until time.Time) {
	_, _ = p.control.SetReadDeadline(until), p.control.SetWriteDeadline(until.Add(p.pause))
}
