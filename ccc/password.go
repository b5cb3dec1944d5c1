package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// errNoPassword: nothing was given.
var errNoPassword = errors.New("the password is empty")

// readPassword reads a password from a file, from the first line of standard input where
// file is -, or from the terminal, without showing it. It never comes from the command
// line, which others on the machine can read.
func readPassword(cmd *cobra.Command, file, prompt string) (string, error) {
	var text []byte
	var err error
	switch {
	case file == "-":
		text, err = bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 4096)).ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		text = bytes.TrimRight(text, "\r\n")
	case file != "":
		text, err = configs.SecretFile(file).Read()
	default:
		text, err = ask(cmd, prompt)
	}
	if err == nil && len(text) == 0 {
		err = errNoPassword
	}
	return string(text), err
}

// newPassword reads a password that is being set, which is asked for twice.
func newPassword(cmd *cobra.Command, file, prompt string) (string, error) {
	first, err := readPassword(cmd, file, prompt)
	if err != nil || file != "" {
		return first, err
	}
	again, err := readPassword(cmd, file, strings.TrimSuffix(prompt, ":")+", again")
	if err == nil && again != first {
		err = errors.New("the two are not the same")
	}
	return first, err
}

func ask(cmd *cobra.Command, prompt string) ([]byte, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) { //nolint:gosec // a descriptor fits
		return nil, &cli.Hint{
			Err: errors.New("there is no terminal to ask for the password"), ExitCode: cli.ExitUsage,
			Hint: "give it in a file, or with - on standard input",
		}
	}
	if _, err := fmt.Fprint(cmd.ErrOrStderr(), prompt+": "); err != nil {
		return nil, err
	}
	text, err := term.ReadPassword(int(in.Fd())) //nolint:gosec // a descriptor fits
	_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	return text, err
}
