package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
)

// LiveEvent is something that has just happened in the tenant.
type LiveEvent struct {
	// Kind is what happened, such as system, removed, presence or reset. More kinds may
	// come; those that a program does not know are of no concern to it.
	Kind string
	// Data is JSON, by kind: [System], [Removed], [Presence], [OfferStep] and so on.
	Data json.RawMessage
}

// Read decodes the data of an event.
func (e LiveEvent) Read(into any) error { return json.Unmarshal(e.Data, into) }

// errStreamEnded: the server has ended the stream, as it does when it stops.
var errStreamEnded = errors.New("the stream of events has ended")

// Events gives what happens in the tenant, until ctx ends or the stream breaks, which is
// the last thing it gives, as an error. Whoever goes on then opens another one and loads
// everything anew: what happened in between is not told. The first event is a summary;
// the event reset says that others were left out.
func (c *Client) Events(ctx context.Context) iter.Seq2[LiveEvent, error] {
	return func(yield func(LiveEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		body, err := c.open(ctx, Request{Method: http.MethodGet, Path: "/events", Accept: "text/event-stream"})
		if err != nil {
			yield(LiveEvent{}, err)
			return
		}
		defer body.Close()
		more := true
		err = ReadEvents(body, c.cfg.MaxAnswer, func(e LiveEvent) bool {
			more = yield(e, nil)
			return more
		})
		if !more {
			return
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if err == nil {
			err = errStreamEnded
		}
		yield(LiveEvent{}, err)
	}
}

// ReadEvents reads server-sent events (HTML, §9.2.6) until the end, or each returns false.
// A line may have up to limit bytes. An event that is cut off is none; one without a name
// or without data is none either.
func ReadEvents(r io.Reader, limit int64, each func(LiveEvent) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, int(limit))
	var e LiveEvent
	size := 0
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if e.Kind != "" && !each(e) {
				return nil
			}
			e, size = LiveEvent{}, 0
			continue
		}
		name, value, _ := strings.Cut(line, ":") // before it is nothing in a comment
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			e.Kind = value
		case "data":
			if size += len(value) + 1; int64(size) > limit {
				return fmt.Errorf("an event is larger than %d bytes", limit)
			}
			if e.Data != nil {
				e.Data = append(e.Data, '\n')
			}
			e.Data = append(e.Data, value...)
		}
	}
	return lines.Err()
}

// pages goes from page to page.
func pages[T any](page func(cursor string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		cursor := ""
		for {
			items, next, err := page(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" || next == cursor {
				return
			}
			cursor = next
		}
	}
}
