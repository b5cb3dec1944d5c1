package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
)

// The log grows by one entry between two looks at it.
func TestFollow(t *testing.T) {
	t.Parallel()
	for _, json := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			const many = 3
			size := uint64(1)
			each := func(_ context.Context, after uint64, f func(audit.Entry) error) error {
				for seq := after + 1; seq <= size; seq++ {
					if err := f(audit.Entry{Seq: seq, Identity: "device/0123456789"}); err != nil {
						return err
					}
				}
				if size++; size > many {
					cancel()
				}
				return nil
			}
			var out bytes.Buffer
			cmd := &cobra.Command{}
			cmd.SetContext(ctx)
			cmd.SetOut(&out)
			p := newProgram()
			p.JSON = json
			if err := p.follow(cmd, each, 0); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			lines := strings.Count(text, "\n")
			if json && lines != many || !json && (lines != many+1 || strings.Count(text, "IDENTITY") != 1) {
				t.Errorf("json %v:\n%s", json, text)
			}
		})
	}
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	err := newProgram().follow(cmd, func(context.Context, uint64, func(audit.Entry) error) error { return broken }, 0)
	if !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
}
