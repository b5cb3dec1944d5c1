package canary_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/e2e/canary"
)

func TestCanaryForms(t *testing.T) {
	t.Parallel()
	c := canary.New()
	for _, prefix := range []string{"", "x", "xy", "xyz"} {
		text := []byte(prefix + string(c) + "and so on")
		for name, encoded := range map[string]string{
			"plain": string(text), "hex": hex.EncodeToString(text),
			"base64": base64.StdEncoding.EncodeToString(text),
		} {
			forms := c.Found(t, func(form []byte) bool { return strings.Contains(encoded, string(form)) })
			if !slices.ContainsFunc(forms, func(form string) bool { return strings.HasPrefix(form, name) }) {
				t.Errorf("%s of %q is not recognised: %q", name, text, forms)
			}
		}
	}
	if forms := c.Found(t, func(form []byte) bool { return bytes.Contains(canary.New().Message(t), form) }); forms != nil {
		t.Errorf("another canary is taken for it: %q", forms)
	}
}
