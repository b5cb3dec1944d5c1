package password

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestHashAndCompare(t *testing.T) {
	t.Parallel()
	h := NewHasher(Cheap, 2)
	hash, err := h.Hash(t.Context(), "secret")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=8,t=1,p=1$") {
		t.Fatalf("%q, %v", hash, err)
	}
	again, err := h.Hash(t.Context(), "secret")
	if err != nil || again == hash {
		t.Errorf("two hashes are the same: %v", err)
	}
	for secret, want := range map[string]bool{"secret": true, "Secret": false, "": false} {
		if ok, err := h.Compare(t.Context(), secret, hash); ok != want || err != nil {
			t.Errorf("%q: %v, %v", secret, ok, err)
		}
	}
	if ok, err := h.Compare(t.Context(), "", ""); ok || err != nil {
		t.Errorf("no hash: %v, %v", ok, err)
	}
}

func TestDefaultCost(t *testing.T) {
	t.Parallel()
	hash, err := NewHasher(Cost{}, 1).Hash(t.Context(), "x")
	if err != nil || !strings.Contains(hash, "$m=19456,t=2,p=1$") {
		t.Errorf("%q, %v", hash, err)
	}
}

func TestHashesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	h := NewHasher(Cheap, 1)
	for _, hash := range []string{
		"x", "$argon2id$v=19$m=8,t=1,p=1$AAAA", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=4000000,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHRzYWx0c2FsdA$a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=8,t=1,p=1$$", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$",
		"$argon2id$v=19$m=8,t=1,p=0$c2FsdHNhbHRzYWx0c2FsdA$a2V5a2V5a2V5a2V5",
	} {
		if ok, err := h.Compare(t.Context(), "x", hash); ok || !errors.Is(err, ErrHash) {
			t.Errorf("%q: %v, %v", hash, ok, err)
		}
	}
}

// TestBound: who finds no place waits, and gives up with its context.
func TestBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(Cheap, 1)
		if err := h.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := h.Hash(ctx, "x"); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
		})
		done := false
		wg.Go(func() {
			if _, err := h.Hash(t.Context(), "x"); err != nil {
				t.Error(err)
			}
			done = true
		})
		synctest.Wait()
		if done {
			t.Error("two hashes at once")
		}
		cancel()
		synctest.Wait()
		h.leave()
		wg.Wait()
		if !done {
			t.Error("the place was not given on")
		}
	})
}

func TestGenerated(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		make func() string
		form string
	}{
		"random": {Random, `^[A-Z2-7]{32}$`},
		"first":  {First, `^[a-km-np-z2-9]{4}(-[a-km-np-z2-9]{4}){3}$`},
	} {
		a, b := tt.make(), tt.make()
		if a == b || !regexp.MustCompile(tt.form).MatchString(a) || len(a) < MinLen || len(a) > MaxLen {
			t.Errorf("%s: %q and %q", name, a, b)
		}
	}
}

func FuzzCompare(f *testing.F) {
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$a2V5a2V5a2V5a2V5")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	h := NewHasher(Cheap, 1)
	f.Fuzz(func(t *testing.T, hash string) {
		if len(hash) > 300 {
			return
		}
		_, _ = h.Compare(t.Context(), "secret", hash) // must not panic nor take long
	})
}
