package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// newHook is a webhook that a test has.
const newHook = `{"url":"https://example.com/hook","events":["user.created","system.removed"]}`

// deliver runs the service of webhooks.
func (w *world) deliver() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.webhooks.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
	})
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	w.deliver()
	got := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	}))
	t.Cleanup(server.Close)
	c := w.signedIn(w.north, store.RoleOwner)
	made := read[MadeWebhook](c.do(http.MethodPost, "/webhooks", strings.Replace(newHook, "https://example.com", server.URL, 1)).want(http.StatusCreated))
	if !strings.HasPrefix(made.Secret, "whsec_") || made.Webhook.State != "good" || !made.Webhook.Enabled {
		t.Errorf("made %+v", made)
	}
	path := "/webhooks/" + made.Webhook.ID
	// The secret is shown once.
	for _, p := range []string{"/webhooks", path} {
		if a := c.do(http.MethodGet, p, "").want(http.StatusOK); strings.Contains(string(a.body), "whsec_") || !strings.Contains(string(a.body), made.Webhook.ID) {
			t.Errorf("%s gives %s", p, a.body)
		}
	}
	c.do(http.MethodPost, path+"/test", "").want(http.StatusCreated)
	if body := <-got; !strings.Contains(body, `"type":"webhook.test"`) {
		t.Errorf("got %s", body)
	}
	// What happens is told, without the name and the address.
	colleague := read[Person](c.do(http.MethodPost, "/users", examples["createUser"].body).want(http.StatusCreated))
	if body := <-got; !strings.Contains(body, `"user_id":"`+colleague.ID+`"`) || strings.Contains(body, "@") || strings.Contains(body, `"New"`) {
		t.Errorf("got %s", body)
	}
	var list WebhookDeliveryList
	for start := time.Now(); time.Since(start) < 20*time.Second && len(list.Items) < 2; <-time.After(10 * time.Millisecond) {
		list = read[WebhookDeliveryList](c.do(http.MethodGet, path+"/deliveries?state=delivered", "").want(http.StatusOK))
	}
	if len(list.Items) != 2 {
		t.Fatalf("delivered: %+v", list)
	}
	one := read[WebhookDelivery](c.do(http.MethodGet, path+"/deliveries/"+list.Items[0].ID, "").want(http.StatusOK))
	if len(one.Log) != 1 || one.Log[0].Status != http.StatusOK || !strings.Contains(string(one.Body), one.ID) {
		t.Errorf("got %+v", one)
	}
	c.do(http.MethodPost, path+"/deliveries/"+one.ID+"/replay", "").want(http.StatusNoContent)
	if body := <-got; !strings.Contains(body, one.ID) {
		t.Errorf("another one comes again: %s", body)
	}
	c.do(http.MethodPatch, path, `{"enabled":false}`).want(http.StatusOK)
	c.do(http.MethodPost, path+"/test", "").problem(CodeState)
	rotated := read[MadeWebhook](c.do(http.MethodPost, path+"/secret", "").want(http.StatusCreated))
	if rotated.Secret == made.Secret || rotated.Webhook.OldSecretUntil == nil || rotated.Webhook.State != "disabled" {
		t.Errorf("got %+v", rotated)
	}
	c.do(http.MethodDelete, path, "").want(http.StatusNoContent)
	c.do(http.MethodGet, path, "").problem(CodeNotFound)
}

func TestWebhookAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	id := read[MadeWebhook](c.do(http.MethodPost, "/webhooks", newHook).want(http.StatusCreated)).Webhook.ID
	for _, url := range []string{"http://example.com/", "https://169.254.169.254/latest", "https://10.0.0.1/", "https://a:b@example.com/"} {
		p := c.do(http.MethodPost, "/webhooks", strings.Replace(newHook, "https://example.com/hook", url, 1)).problem(CodeInvalid)
		q := c.do(http.MethodPatch, "/webhooks/"+id, `{"url":"`+url+`"}`).problem(CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Location != "body.url" || len(q.Errors) != 1 {
			t.Errorf("%s: %+v, %+v", url, p, q)
		}
	}
	for _, events := range []string{`[]`, `["webhook.test"]`, `["system.exploded"]`, `["user.created","user.created"]`} {
		c.do(http.MethodPost, "/webhooks", `{"url":"https://example.com/hook","events":`+events+`}`).problem(CodeInvalid)
	}
}

// TestWebhooksOfAnother are not there.
func TestWebhooksOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	id := read[MadeWebhook](w.signedIn(w.north, store.RoleOwner).do(http.MethodPost, "/webhooks", newHook).want(http.StatusCreated)).Webhook.ID
	other := w.signedIn(w.south, store.RoleOwner)
	for _, path := range []string{"", "/deliveries", "/deliveries/x"} {
		foreign := other.do(http.MethodGet, "/webhooks/"+id+path, "").want(http.StatusNotFound)
		missing := other.do(http.MethodGet, "/webhooks/"+string(store.NewID[store.WebhookID]())+path, "").want(http.StatusNotFound)
		if string(foreign.body) != string(missing.body) {
			t.Errorf("%s: %s and %s", path, foreign.body, missing.body)
		}
	}
}
