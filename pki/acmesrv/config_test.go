package acmesrv_test

import (
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := (acmesrv.Config{Roles: roles()}).Validate(); err != nil {
		t.Errorf("good: %v", err)
	}
	for want, change := range map[string]func(*acmesrv.Config){
		"roles[0].name":     func(c *acmesrv.Config) { c.Roles[0].Name = "srv/ara" },
		"roles[1].name":     func(c *acmesrv.Config) { c.Roles[1].Name = c.Roles[0].Name },
		"roles[1].names:":   func(c *acmesrv.Config) { c.Roles[1].Names = nil },
		"roles[1].names[0]": func(c *acmesrv.Config) { c.Roles[1].Names[0] = "ara.*.test" },
		"roles[1].names[1]": func(c *acmesrv.Config) { c.Roles[1].Names[1] = "ARA.comtrexx.test" },
		"lifetime":          func(c *acmesrv.Config) { c.Lifetime = time.Second },
		"challenge_timeout": func(c *acmesrv.Config) { c.ChallengeTimeout = -1 },
		"dial":              func(c *acmesrv.Config) { c.Dial = map[string]string{"ara.comtrexx.test:8443": "127.0.0.1:1"} },
		`dial: "a.*`:        func(c *acmesrv.Config) { c.Dial = map[string]string{"a.*.comtrexx.test:443": "127.0.0.1:1"} },
		`dial: "ara`:        func(c *acmesrv.Config) { c.Dial = map[string]string{"ara.comtrexx.test:443": "127.0.0.1"} },
	} {
		c := acmesrv.Config{Roles: roles()}
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
}

// A role whose names the intermediate cannot sign for is told so at the start.
func TestNamesWithinIssuer(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	for name, ok := range map[string]bool{
		"any.comtrexx.test": true, "*.comtrexx.test": true, "comtrexx.test": true, "localhost": true, "127.0.0.0/16": true, "::1": true,
		"comtrexx.test.evil.example": false, "xcomtrexx.test": false, "example.com": false,
		"s0123456789.pbx.comtrexx.test": false, "relay.comtrexx.test": false, "*.svc.comtrexx.test": false,
		"10.0.0.1": false, "0.0.0.0/0": false, "::/0": false, "::2": false,
	} {
		cfg := w.cfg
		cfg.Roles = []acmesrv.Role{{Name: "srv-x", Names: []string{"ara.comtrexx.test", name}}}
		_, err := acmesrv.New(cfg)
		if ok && err != nil || !ok && (err == nil || !strings.Contains(err.Error(), "roles[0].names[1]")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg := w.cfg
	cfg.Issuer, cfg.Key = nil, nil
	if _, err := acmesrv.New(cfg); err == nil {
		t.Error("no issuer is needed")
	}
	cfg = w.cfg
	cfg.Key = pkitest.NewKey()
	if _, err := acmesrv.New(cfg); err == nil {
		t.Error("a key that is not the issuer's")
	}
}
