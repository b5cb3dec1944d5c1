package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

func TestBothWays(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	var got []any
	note := func(m any) { got = append(got, m) }
	mux.Handle("POST "+PathOffer, Handle(0, func(_ context.Context, b OfferBody) (ReceivedBody, error) {
		note(b)
		return ReceivedBody{"r"}, nil
	}))
	mux.Handle("POST "+PathWithdraw, Handle(0, func(_ context.Context, b Withdraw) (Empty, error) {
		note(b)
		return Empty{}, nil
	}))
	mux.Handle("POST "+PathDissolve, Handle(0, func(_ context.Context, b TombstoneBody) (TombstoneBody, error) {
		note(b)
		return TombstoneBody{"t2"}, nil
	}))
	mux.Handle("POST "+PathComplete, Handle(0, func(_ context.Context, c Complete) (AckBody, error) {
		note(c.reveal())
		return AckBody{"a"}, nil
	}))
	mux.Handle("POST "+PathDeclined, Handle(0, func(_ context.Context, d Declined) (Empty, error) {
		note(d)
		return Empty{}, nil
	}))
	mux.Handle("POST "+PathSync, Handle(0, func(_ context.Context, s Sync) (SyncReply, error) {
		note(s)
		return SyncReply{Known: true, Acks: []TombstoneAck{{"p-2"}}, OffersVoid: []OfferID{"o-1"}, NextSync: 60}, nil
	}))
	mux.Handle("POST "+PathRemote, Handle(0, func(_ context.Context, b RemoteBody) (RemoteTaken, error) {
		note(b)
		return RemoteTaken{grant.Pending}, nil
	}))
	mux.Handle("POST "+PathRemoteEnd, Handle(0, func(_ context.Context, e RemoteEnd) (Empty, error) {
		note(e)
		return Empty{}, nil
	}))
	mux.Handle("POST "+PathRemoteReport, Handle(0, func(_ context.Context, r RemoteReport) (Empty, error) {
		note(r)
		return Empty{}, nil
	}))
	client := serve(t, mux)
	pbx, ccc := PBX{HTTP: client}, CCC{HTTP: client}
	ctx := t.Context()

	if r, err := pbx.Offer(ctx, "o"); r != "r" || err != nil {
		t.Errorf("Offer: %q, %v", r, err)
	}
	if err := pbx.Withdraw(ctx, "o-1"); err != nil {
		t.Errorf("Withdraw: %v", err)
	}
	if r, err := pbx.Dissolve(ctx, "t1"); r != "t2" || err != nil {
		t.Errorf("Dissolve: %q, %v", r, err)
	}
	if r, err := ccc.Complete(ctx, sampleComplete()); r != "a" || err != nil {
		t.Errorf("Complete: %q, %v", r, err)
	}
	if err := ccc.Declined(ctx, Declined{"o-1", WhyTries}); err != nil {
		t.Errorf("Declined: %v", err)
	}
	sync := Sync{Pairing: "p-1", Epoch: 2, Version: 5, Offers: []OfferID{"o-1"}, Tombstones: []string{"t"}}
	r, err := ccc.Sync(ctx, sync)
	if want := (SyncReply{Known: true, Acks: []TombstoneAck{{"p-2"}}, OffersVoid: []OfferID{"o-1"}, NextSync: 60}); err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("Sync: %+v, %v", r, err)
	}
	if r, err := pbx.Remote(ctx, "r"); r != grant.Pending || err != nil {
		t.Errorf("Remote: %q, %v", r, err)
	}
	if err := pbx.RemoteEnd(ctx, RemoteEnd{"s-1", grant.CauseUser}); err != nil {
		t.Errorf("RemoteEnd: %v", err)
	}
	if err := ccc.RemoteReport(ctx, sampleReport()); err != nil {
		t.Errorf("RemoteReport: %v", err)
	}
	want := []any{
		OfferBody{"o"},
		Withdraw{"o-1"},
		TombstoneBody{"t1"},
		sampleComplete().reveal(),
		Declined{"o-1", WhyTries},
		sync,
		RemoteBody{"r"},
		RemoteEnd{"s-1", grant.CauseUser},
		sampleReport(),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the server saw %+v, want %+v", got, want)
	}
}

// TestClientsCheckFirst: what the other side would refuse is not sent.
func TestClientsCheckFirst(t *testing.T) {
	t.Parallel()
	none := HTTPClient(func(context.Context) (net.Conn, error) {
		t.Error("dialled")
		return nil, net.ErrClosed
	})
	ccc := CCC{HTTP: none}
	bad := sampleComplete()
	bad.User = NewSecret("ccc\x00")
	if _, err := ccc.Complete(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "user: ") {
		t.Error(err)
	}
	if err := ccc.Declined(t.Context(), Declined{"o-1", "whim"}); err == nil || !strings.Contains(err.Error(), "reason: ") {
		t.Error(err)
	}
	if _, err := ccc.Sync(t.Context(), Sync{Version: 1, Offers: make([]OfferID, MaxOffers+1)}); err == nil || !strings.Contains(err.Error(), "offers: ") {
		t.Error(err)
	}
}

func TestReportChecks(t *testing.T) {
	t.Parallel()
	if err := sampleReport().check(); err != nil {
		t.Fatal(err)
	}
	over := sampleReport()
	over.State, over.Cause = grant.Ended, grant.CauseTime
	if err := over.check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*RemoteReport){
		"session: ":    func(r *RemoteReport) { r.Session = "" },
		"state: ":      func(r *RemoteReport) { r.State = "gone" },
		"state: is":    func(r *RemoteReport) { r.State = grant.Requested },
		"at: ":         func(r *RemoteReport) { r.At = time.Time{} },
		"started_at: ": func(r *RemoteReport) { r.Until = nil },
		"until: ":      func(r *RemoteReport) { r.Until = &time.Time{} },
		"consent: ":    func(r *RemoteReport) { r.Consent = "nod" },
		"consent: has": func(r *RemoteReport) { r.Consent = "" },
		"cause: ":      func(r *RemoteReport) { r.Cause = grant.CauseTime },
		"cause: is":    func(r *RemoteReport) { r.State, r.Cause = grant.Ended, "whim" },
		"bytes_in: ":   func(r *RemoteReport) { r.BytesOut = -1 },
	} {
		r := sampleReport()
		change(&r)
		if err := r.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %v", want, err)
		}
	}
	for cause, ok := range map[grant.Cause]bool{grant.CauseUser: true, grant.CauseCCC: true, grant.CauseTime: false, "": false} {
		if err := (RemoteEnd{"s-1", cause}).check(); (err == nil) != ok {
			t.Errorf("%q: %v", cause, err)
		}
	}
}

func TestServerRefuses(t *testing.T) {
	t.Parallel()
	const max = 1000
	called := 0
	client := serve(t, Handle(max, func(context.Context, Complete) (AckBody, error) {
		called++
		return AckBody{"a"}, nil
	}))
	good, err := json.Marshal(sampleComplete().reveal())
	if err != nil {
		t.Fatal(err)
	}
	const canary = "hunter2-canary"
	for _, tt := range []struct {
		name, media, body string
		status            int
		detail            string
	}{
		{"as it should be", "application/json; charset=utf-8", string(good), 200, ""},
		{"new field", "application/json", strings.Replace(string(good), "{", `{"more":[],`, 1), 200, ""},
		{"form", "application/x-www-form-urlencoded", string(good), 400, "Content-Type"},
		{"no media type", "", string(good), 400, "Content-Type"},
		{"at the limit", "application/json", string(good) + strings.Repeat(" ", max-len(good)), 200, ""},
		{"too long", "application/json", string(good) + strings.Repeat(" ", max-len(good)+1), 400, "body"},
		{"two values", "application/json", string(good) + string(good), 400, "more follows"},
		{"wrong type", "application/json", `{"version":"` + canary + `"}`, 400, "version: is not a whole number"},
		{"wrong secret", "application/json", `{"password":["` + canary + `"]}`, 400, ""},
		{"not JSON", "application/json", canary, 400, "malformed JSON"},
		{"fields missing", "application/json", `{"password":"` + canary + `"}`, 400, "user: "},
		{"null", "application/json", `null`, 400, "offer: "},
	} {
		before := called
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tt.media)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(text), tt.detail) {
			t.Errorf("%s: %d %s, %v", tt.name, resp.StatusCode, text, err)
		}
		if called-before == 1 != (tt.status == 200) {
			t.Errorf("%s: the function ran %d times", tt.name, called-before)
		}
		if strings.Contains(string(text), canary) {
			t.Errorf("%s: the answer repeats the body", tt.name)
		}
		if resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be cached", tt.name)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for code, c := range codes {
		client := serve(t, Handle(0, func(context.Context, Withdraw) (Empty, error) {
			return Empty{}, fmt.Errorf("wrapped: %w", NewProblem(code, "field: wrong"))
		}))
		err := PBX{HTTP: client}.Withdraw(t.Context(), "o-1")
		p := (*Problem)(nil)
		if !errors.As(err, &p) || *p != *NewProblem(code, "field: wrong") || CodeOf(err) != code || p.Status != c.status {
			t.Errorf("%s: %v", code, err)
		}
		if want := c.status >= 500 || c.status == 429; Temporary(err) != want {
			t.Errorf("%s: Temporary is %v", code, !want)
		}
	}
	if p := NewProblem("made up", ""); p.Code != CodeInternal || p.Status != 500 {
		t.Errorf("%+v", p)
	}
	if CodeOf(nil) != "" || CodeOf(io.EOF) != "" || Temporary(nil) || !Temporary(io.EOF) {
		t.Error("errors without a problem")
	}
}

// TestOddAnswers: the other side may be a newer one, or none of ours.
func TestOddAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter)
		code   Code
		text   string
	}{
		{"an error inside", func(w http.ResponseWriter) { WriteProblem(w, errors.New("database password is x")) }, CodeInternal, "internal: The request cannot be served now."},
		{"a new code", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", ProblemMediaType)
			w.WriteHeader(409)
			fmt.Fprint(w, `{"code":"newer","title":"New.\u0000\u001b[31m"}`)
		}, "newer", "newer: New.  [31m"},
		{"a page", func(w http.ResponseWriter) { http.Error(w, "<h1>no</h1>", 404) }, CodeBadRequest, "bad_request: Not Found"},
		{"a page of a server in trouble", func(w http.ResponseWriter) { http.Error(w, "<h1>no</h1>", http.StatusBadGateway) }, CodeInternal, "internal: Bad Gateway"},
		{"a redirect", func(w http.ResponseWriter) { w.Header().Set("Location", "/v1/other"); w.WriteHeader(307) }, CodeBadRequest, "bad_request: Temporary Redirect"},
		{"a long problem", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", ProblemMediaType)
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"code":"x","detail":%q}`, strings.Repeat("ä", 2*maxText))
		}, "x", "x: " + strings.Repeat("ä", maxText)},
		{"not the answer", func(w http.ResponseWriter) { fmt.Fprint(w, "hello") }, "", "/v1/dissolve: answer: malformed JSON, or a time or base64 text of the wrong form"},
		{"an empty answer", func(w http.ResponseWriter) { fmt.Fprint(w, "{}") }, "", "/v1/dissolve: answer: tombstone: is not a signed statement of 1 to 7168 bytes"},
		{"no end", func(w http.ResponseWriter) { _, _ = w.Write(bytes.Repeat([]byte(" "), DefaultMaxBody+1)) }, "", "/v1/dissolve: answer: body: has more than 16384 bytes"},
	} {
		client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) }))
		got, err := PBX{HTTP: client}.Dissolve(t.Context(), "t")
		if got != "" || err == nil || CodeOf(err) != tt.code || err.Error() != tt.text {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

// TestSecretsDoNotPrint tries every way in which a message gets into a log. The
// positive control is what is sent.
func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	c := sampleComplete()
	o := sampleOffer(t)
	type holder struct {
		hidden Complete
		offer  Offer
		Secret Secret
	}
	var out bytes.Buffer
	for _, v := range []any{c, &c, o, &o, holder{c, o, c.Password}, c.Password, &c.User, []Complete{c}, map[string]Offer{"o": o}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true}).Info("x", "v", v)
		hclog.New(&hclog.LoggerOptions{Output: &out}).Info("x", "v", v)
	}
	secrets := []string{c.User.Reveal(), c.Password.Reveal(), fmt.Sprintf("%x", c.Password.Reveal()), o.Token.Reveal(), strings.ReplaceAll(o.Token.Reveal(), "-", "")}
	for _, s := range secrets {
		if strings.Contains(out.String(), s) {
			t.Errorf("the output has %q", s)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("the placeholder does not show")
	}
	sent, err := json.Marshal(c.reveal())
	if err != nil || !bytes.Contains(sent, []byte(c.Password.Reveal())) || !bytes.Contains(sent, []byte(c.User.Reveal())) {
		t.Errorf("what is sent does not have them: %v", err)
	}
	payload, err := o.encode()
	if err != nil || !bytes.Contains(payload, []byte(o.Token.Reveal())) {
		t.Errorf("the offer does not carry the token: %v", err)
	}
}

func TestSecretOfNothing(t *testing.T) {
	t.Parallel()
	if got := (Secret{}).Reveal(); got != "" {
		t.Errorf("the zero Secret has %q", got)
	}
}
