package client

import (
	"flag"
	"os"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/client/internal/gen"
)

var update = flag.Bool("update", false, "write operations_gen.go anew")

const generated = "operations_gen.go"

// TestGenerated: the client has what the API's document has.
func TestGenerated(t *testing.T) {
	document, err := os.ReadFile("../api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := gen.Render(document)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(generated, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(generated)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("the client is not what openapi.json says; run: go test ./ccc/client -run TestGenerated -update")
	}
}
