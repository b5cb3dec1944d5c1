package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// Every start of this program costs a third of a second with the race detector, and a
// script has dozens of commands. So a script has one process that runs them, one after
// the other: "run pki …" in a script is "exec pki …" without the start.

// shellName is the program that this process is in a script for that.
const shellName = "pki-shell"

// shellCall is one command, and shellResult what came of it.
type (
	shellCall   struct{ Args, Env []string }
	shellResult struct {
		Code     int
		Out, Err []byte
	}
)

// shellMain runs the commands that come on standard input, until that ends.
func shellMain() {
	calls, results := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var c shellCall
		if err := calls.Decode(&c); err != nil {
			os.Exit(map[bool]int{false: 1}[err == io.EOF])
		}
		os.Clearenv()
		for _, v := range c.Env {
			name, value, _ := strings.Cut(v, "=")
			_ = os.Setenv(name, value)
		}
		os.Args = append([]string{"pki"}, c.Args...)
		var out, errs bytes.Buffer
		root := newProgram().Command
		root.SetArgs(c.Args)
		root.SetIn(strings.NewReader(""))
		root.SetOut(&out)
		root.SetErr(&errs)
		code := cli.Main(context.Background(), root)
		if err := results.Encode(shellResult{code, out.Bytes(), errs.Bytes()}); err != nil {
			os.Exit(1)
		}
	}
}

// shell is the process of one script. It starts with the first command.
type shell struct {
	t   *testing.T
	dir string
	env *testscript.Env

	start   func() error
	calls   *json.Encoder
	results *json.Decoder
}

type shellKey struct{}

// newShell gives a script its shell, which ends with the script.
func newShell(t *testing.T, env *testscript.Env) {
	t.Helper()
	s := &shell{t: t, dir: env.WorkDir, env: env}
	s.start = sync.OnceValue(func() error {
		program, err := exec.LookPath(shellName)
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(context.Background(), program)
		cmd.Dir, cmd.Env, cmd.Stderr = s.dir, env.Vars, t.Output()
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		s.calls, s.results = json.NewEncoder(in), json.NewDecoder(out)
		env.Defer(func() {
			_ = in.Close()
			if err := cmd.Wait(); err != nil { // a data race is told like that, too
				t.Errorf("%s: %v", shellName, err)
			}
		})
		return cmd.Start()
	})
	env.Values[shellKey{}] = s
}

var setsVariable = regexp.MustCompile(`(?m)^env (\w+)=`)

// environment is what "exec" would give to a program: testscript does not tell, but the
// script says which variables it sets.
func (s *shell) environment(ts *testscript.TestScript) []string {
	env := slices.Clone(s.env.Vars)
	text, err := os.ReadFile(filepath.Join("testdata", ts.Name()+".txtar"))
	ts.Check(err)
	for _, m := range setsVariable.FindAllSubmatch(text, -1) {
		if v := ts.Getenv(string(m[1])); v != "" {
			env = append(env, string(m[1])+"="+v)
		}
	}
	return env
}

// inShell runs one command in the script's shell, with -until once more until its output
// matches: run [-until REGEXP] pki ARGS.
func inShell(ts *testscript.TestScript, neg bool, args []string) {
	until := regexp.MustCompile("")
	if len(args) > 1 && args[0] == "-until" {
		var err error
		until, err = regexp.Compile("(?m)" + args[1])
		ts.Check(err)
		args = args[2:]
	}
	if len(args) == 0 || args[0] != "pki" {
		ts.Fatalf("usage: run [-until REGEXP] pki ARGS")
	}
	s := ts.Value(shellKey{}).(*shell) //nolint:forcetypeassert // Setup has put it there
	ts.Check(s.start())
	var got shellResult
	const patience = 30 * time.Second
	for begin := time.Now(); ; {
		ts.Check(s.calls.Encode(shellCall{args[1:], s.environment(ts)}))
		got = shellResult{}
		ts.Check(s.results.Decode(&got))
		if until.Match(got.Out) {
			break
		}
		if time.Since(begin) > patience {
			ts.Fatalf("the output does not come to match %q: %s%s", until, got.Out, got.Err)
		}
	}
	_, err := ts.Stdout().Write(got.Out)
	ts.Check(err)
	_, err = ts.Stderr().Write(got.Err)
	ts.Check(err)
	switch {
	case got.Code != 0 && !neg:
		ts.Fatalf("exit code %d\n%s", got.Code, got.Err)
	case got.Code == 0 && neg:
		ts.Fatalf("it succeeded")
	}
}
