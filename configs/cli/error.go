package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of every program.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
	ExitConfig = 3
)

// Hint is an error that says what to do about it.
type Hint struct {
	// Err is what went wrong. Several lines are shown as several errors.
	Err error
	// Hint is one line for the person at the terminal. Optional.
	Hint string
	// ExitCode of the program. Default: [ExitFailed].
	ExitCode int
}

// Error gives the error without the hint.
func (h *Hint) Error() string { return h.Err.Error() }

// Unwrap gives the error.
func (h *Hint) Unwrap() error { return h.Err }

// Main runs the root command on the process's arguments and gives the exit code.
// Errors are shown on the command's error stream. It is called once for a
// command, which it changes: a group of commands without a RunE of its own gets
// one that refuses unknown commands.
func Main(ctx context.Context, root *cobra.Command) int {
	root.SilenceErrors = true
	root.SilenceUsage = true
	started := false
	prepare(root, &started)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	h, ok := errors.AsType[*Hint](err)
	if !ok {
		h = &Hint{}
	}
	hint, code := h.Hint, h.ExitCode
	switch {
	case !started && !ok:
		code = ExitUsage
		hint = fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
	case code == ExitOK:
		code = ExitFailed
	}
	show(root.ErrOrStderr(), err, hint)
	return code
}

// show prints an error and its hint. Nothing can be done where printing fails.
func show(w io.Writer, err error, hint string) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		_, _ = fmt.Fprintln(w, "error:", printable(line))
	}
	if hint != "" {
		_, _ = fmt.Fprintln(w, "hint:", printable(hint))
	}
}

// prepare wraps the commands so that Main can tell wrong use (the error comes
// before RunE) from failure. Cobra itself lets "program group typo" pass as a
// request for help.
func prepare(c *cobra.Command, started *bool) {
	for _, sub := range c.Commands() {
		prepare(sub, started)
	}
	run := c.RunE
	switch {
	case run == nil && c.Run != nil:
		return // gives no errors
	case run == nil:
		c.Args = cobra.ArbitraryArgs
		c.ValidArgsFunction = cobra.NoFileCompletions
		run = group
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		*started = true
		return run(cmd, args)
	}
}

// group is the RunE of a command that only holds others.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	hint := fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
	// SuggestionsFor looks at prefixes too; the distance is cobra's default.
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = fmt.Sprintf("did you mean %q?", cmd.CommandPath()+" "+s[0])
	}
	return &Hint{
		Err:      fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()),
		Hint:     hint,
		ExitCode: ExitUsage,
	}
}
