package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// demoConfig is the configuration of the program that the scripts run.
type demoConfig struct {
	Log struct {
		Level string `yaml:"level"`
	} `yaml:"log"`
	Listen  string             `yaml:"listen"`
	Timeout time.Duration      `yaml:"timeout"`
	Key     configs.SecretFile `yaml:"key_file"`
}

func (c *demoConfig) Validate() error {
	if c.Listen == "" {
		return &configs.KeyError{Key: "listen", Problem: "is required", Hint: "as in :443"}
	}
	return nil
}

func demo() *App {
	app := New(Program{
		Name: "demo-app", Short: "A program for tests", Example: "auerproxy.yaml",
		NewConfig: func() any { return &demoConfig{Listen: ":443", Timeout: time.Second} },
	})
	serve := &cobra.Command{Use: "serve", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var cfg demoConfig
		if err := app.Load(&cfg); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), cfg.Log.Level, cfg.Listen)
		return err
	}}
	fail := &cobra.Command{Use: "fail", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		switch args[0] {
		case "hint":
			return fmt.Errorf("outside: %w", &Hint{Err: errors.New("two\nlines"), Hint: "do better", ExitCode: 7})
		case "escape":
			return errors.New("a\x1b[31mb")
		default:
			return errors.New("failed")
		}
	}}
	list := &cobra.Command{Use: "list", RunE: func(cmd *cobra.Command, _ []string) error {
		t := &Table{Header: []string{"SERIAL", "STATE"}}
		t.Add("0012345", "up")
		t.Add("7", "\x1b]0;evil\x07\tdown")
		return app.Print(cmd, []map[string]string{{"serial": "<0012345>"}}, t)
	}}
	needs := &cobra.Command{Use: "needs", RunE: func(*cobra.Command, []string) error { return nil }}
	needs.Flags().String("out", "", "needed")
	if err := needs.MarkFlagRequired("out"); err != nil {
		panic(err)
	}
	app.AddCommand(serve, fail, list, needs)
	return app
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"demo-app": func() { os.Exit(Main(context.Background(), demo().Command)) },
		"bare-app": func() { os.Exit(Main(context.Background(), New(Program{Name: "bare-app"}).Command)) },
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector has a process wait for a second before it ends
			return nil
		},
	})
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		want int
	}{
		{"", ExitOK},
		{"--help", ExitOK},
		{"--version", ExitOK},
		{"completion bash", ExitOK},
		{"config", ExitOK},
		{"config check", ExitOK},
		{"list --json", ExitOK},
		{"fail x", ExitFailed},
		{"fail hint", 7},
		{"fail", ExitUsage},
		{"fail x y", ExitUsage},
		{"serv", ExitUsage},
		{"config chek", ExitUsage},
		{"serve --no-such-flag", ExitUsage},
		{"--no-such-flag", ExitUsage},
		{"needs", ExitUsage},
		{"needs --out x", ExitOK},
		{"config check --set listen=", ExitConfig},
		{"config check --set lsiten=x", ExitConfig},
		{"config print --config /none.yaml", ExitConfig},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			app := demo()
			app.SetArgs(strings.Fields(tt.args))
			app.SetOut(io.Discard)
			app.SetErr(io.Discard)
			if got := Main(t.Context(), app.Command); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

type failingWriter struct{}

var errWrite = errors.New("disk full")

func (failingWriter) Write([]byte) (int, error) { return 0, errWrite }

func TestOutputErrorsAreReturned(t *testing.T) {
	t.Parallel()
	table := &Table{}
	table.Add("x")
	if err := table.Write(failingWriter{}); !errors.Is(err, errWrite) {
		t.Errorf("table: got %v", err)
	}
	if err := WriteJSON(failingWriter{}, 1); !errors.Is(err, errWrite) {
		t.Errorf("JSON: got %v", err)
	}
}
