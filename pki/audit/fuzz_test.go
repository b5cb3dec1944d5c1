package audit

import (
	"bytes"
	"encoding/json"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// FuzzCheckpoint reads what a peer says is a checkpoint. Text and signature are given
// apart, so that the fuzzer gets past the signature.
func FuzzCheckpoint(f *testing.F) {
	l, _ := opened(f, 3)
	c := signed(f, l)
	text, signature, _ := bytes.Cut([]byte(c.Note), []byte("\n\n"))
	f.Add(append(text, '\n'), []byte{}, true)
	f.Add([]byte(c.Note), signature, false)
	f.Add([]byte(origin+"\n18446744073709551615\nAA==\n"), []byte{}, true)
	f.Add([]byte(origin+"\n4611686018427387905\n"+c.Root.String()+"\n"), []byte{}, true)
	f.Fuzz(func(t *testing.T, text, signature []byte, sign bool) {
		signed := append(append(bytes.Clone(text), '\n'), signature...)
		if sign {
			var err error
			if signed, err = note.Sign(&note.Note{Text: string(text)}, l.signer); err != nil {
				return
			}
		}
		got, err := l.Key().Checkpoint(signed)
		if err != nil {
			return
		}
		if got.Size < 0 || got.Size > maxSize || got.Origin != origin || got.Note != string(signed) {
			t.Errorf("%+v", got)
		}
		for _, pair := range [][2]Checkpoint{{c, got}, {got, c}} {
			if err := Consistent(pair[0], pair[1], nil); err == nil && pair[0].Size > 0 && pair[0].Size < pair[1].Size {
				t.Errorf("%+v is in %+v by no proof", pair[0], pair[1])
			}
		}
	})
}

// FuzzProof reads a saved proof. What it verifies must be what the log has.
func FuzzProof(f *testing.F) {
	l, _ := opened(f, 9)
	signed(f, l)
	p, entries := find(f, l, Query{})
	known := map[string]bool{}
	for i := range entries {
		text := p.Proof(i).Marshal()
		known[string(p.Entries[i].Entry)] = true
		f.Add(text)
		if i == 0 {
			f.Add(bytes.Replace(text, []byte("index 0"), []byte("index 4611686018427387905"), 1))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		proof, err := ParseProof(text)
		if err != nil {
			return
		}
		again, err := ParseProof(proof.Marshal())
		if err != nil || again.Index != proof.Index || !bytes.Equal(again.Entry, proof.Entry) || again.Checkpoint != proof.Checkpoint {
			t.Errorf("written and read again: %+v, %v, was %+v", again, err, proof)
		}
		if _, _, err := proof.Verify(l.Key()); err == nil && !known[string(proof.Entry)] {
			t.Errorf("proves an entry that is not in the log: %s", proof.Entry)
		}
	})
}

// FuzzPage reads an answer of a PKI.
func FuzzPage(f *testing.F) {
	l, _ := opened(f, 9)
	signed(f, l)
	p, _ := find(f, l, Query{})
	known := map[string]bool{}
	for i := range p.Entries {
		known[string(p.Entries[i].Entry)] = true
	}
	text, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"entries":[{"index":4611686018427387905,"proof":[]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p Page
		if json.Unmarshal(text, &p) != nil {
			return
		}
		if _, _, err := p.Verify(l.Key()); err != nil {
			return
		}
		for _, e := range p.Entries {
			if !known[string(e.Entry)] {
				t.Errorf("proves an entry that is not in the log: %s", e.Entry)
			}
		}
	})
}
