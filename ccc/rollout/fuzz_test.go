package rollout

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzSettings reads settings and schemas that PBXs give: what is taken is within its bounds
// and reads the same again.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"ntp_server":"a","n":1,"b":true,"list":["x","y"]}`), []byte(`[{"key":"ntp_server","type":"string","labels":{"de":"Zeit\u0000"}}]`))
	f.Add([]byte(`{"N":1}`), []byte(`[{"key":"a","type":"object"}]`))
	f.Add([]byte(`{"a":{"b":1},"c":1e400}`), []byte(`[{"key":"a","type":"list"},{"key":"a","type":"list"}]`))
	f.Fuzz(func(t *testing.T, settings, schema []byte) {
		var v Values
		if json.Unmarshal(settings, &v) == nil {
			if taken, err := v.Parse(); err == nil {
				again, err := taken.Parse()
				if err != nil || len(changes(taken, again)) > 0 || len(taken) > MaxKeys {
					t.Fatalf("%s is not the same again: %s, %v", settings, again, err)
				}
				for key, value := range taken {
					if !keyText.MatchString(key) || bytes.ContainsAny(value, "\n\x00") {
						t.Fatalf("%q: %s", key, value)
					}
				}
			}
		}
		var keys []Key
		if json.Unmarshal(schema, &keys) != nil || checkSchema(keys) != nil {
			return
		}
		for _, k := range keys {
			for language, label := range k.Labels {
				if len(label) > 200 || strings.ContainsAny(label, "\n\x00") || len(language) != 2 {
					t.Fatalf("label %q", label)
				}
			}
		}
	})
}
