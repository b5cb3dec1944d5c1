// Package cli is how all programs of the cloud look on the command line: the same
// persistent flags, the same config commands, the same way to show errors,
// tables and JSON, the same exit codes.
//
//	func main() {
//		app := cli.New(cli.Program{
//			Name:      "auerproxy",
//			Short:     "Relay between devices and their callers",
//			NewConfig: func() any { c := DefaultConfig(); return &c },
//		})
//		app.AddCommand(serveCommand(app), sessionsCommand(app))
//		os.Exit(cli.Main(context.Background(), app.Command))
//	}
//
// A command returns its error from RunE and prints nothing itself; [Main] shows
// it on standard error, with the hint that a [*Hint] carries:
//
//	error: the relay at 127.0.0.1:9090 does not answer
//	hint: is "auerproxy serve" running?
//
// # Exit codes
//
//	0  done
//	1  the command failed
//	2  the command line is wrong
//	3  the configuration is wrong
//
// # Persistent flags
//
//	--config PATH       configuration file
//	--set KEY=VALUE     override one key; may be repeated
//	--log-level LEVEL   short for --set log.level=LEVEL
//	--json              machine-readable output
//
// Shell completion is a command of each program: "auerproxy completion bash".
//
// The package is linked by auer-agent, and so imports neither Prometheus nor
// configs/daemon.
package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Program describes a program to its command line.
type Program struct {
	// Name of the program, in lower case: auerproxy.
	Name string
	// Short says in one line what it is; Long, optional, is its manual page.
	Short, Long string
	// EnvPrefix is the prefix of its environment variables. Default: the name
	// in capitals, dashes as underscores.
	EnvPrefix string
	// ConfigPath is the default of --config. Empty: without --config no file
	// is read.
	ConfigPath string
	// Example names its file in package configs. Default: the name and .yaml.
	Example string
	// LogLevelKey is the key that --log-level sets. Default: log.level.
	LogLevelKey string
	// NewConfig gives a pointer to the program's Config with its defaults.
	// Nil: the program has no configuration; the config commands and --config,
	// --set and --log-level are left out.
	NewConfig func() any
	// Check is what "config check" does after it has loaded the configuration:
	// it looks at what the configuration speaks of, and starts nothing. With --json
	// it prints the result itself. Optional.
	Check func(cmd *cobra.Command) error
}

// App is a program's root command with its persistent flags. Make it with [New],
// add commands, and pass App.Command to [Main].
type App struct {
	*cobra.Command
	// JSON is the flag --json.
	JSON bool

	program  Program
	config   string
	set      []string
	logLevel string
}

// New makes the root command. It shows the help when it is run without a command;
// set App.RunE to have it do something.
func New(p Program) *App {
	p.EnvPrefix = cmp.Or(p.EnvPrefix, strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")))
	p.Example = cmp.Or(p.Example, p.Name+".yaml")
	p.LogLevelKey = cmp.Or(p.LogLevelKey, "log.level")
	a := &App{program: p, Command: &cobra.Command{
		Use:     p.Name,
		Short:   p.Short,
		Long:    p.Long,
		Version: configs.Version(),
	}}
	flags := a.PersistentFlags()
	flags.BoolVar(&a.JSON, "json", false, "machine-readable output")
	if p.NewConfig != nil {
		flags.StringVar(&a.config, "config", p.ConfigPath, "configuration `file`")
		flags.StringArrayVar(&a.set, "set", nil, "override one `key=value` of the configuration; may be repeated")
		flags.StringVar(&a.logLevel, "log-level", "", "override "+p.LogLevelKey+" with a `level`: trace, debug, info, warn, error, off")
		a.AddCommand(a.configCommand())
	}
	return a
}

// Load merges the file, the environment and the flags into dst, which holds the
// defaults; see [configs.Load]. The file given by Program.ConfigPath may be
// missing, one named with --config must exist.
func (a *App) Load(dst any) error {
	src := configs.Source{Path: a.config, EnvPrefix: a.program.EnvPrefix, Set: a.set}
	if a.logLevel != "" {
		src.Set = append(slices.Clip(src.Set), a.program.LogLevelKey+"="+a.logLevel)
	}
	named := a.PersistentFlags().Changed("config")
	if !named && src.Path != "" && !exists(src.Path) {
		src.Path = ""
	}
	err := configs.Load(dst, src)
	if err == nil {
		return nil
	}
	return configError(err, a.program)
}

// configError gives the exit code of wrong configuration.
func configError(err error, p Program) error {
	h := &Hint{Err: err, ExitCode: ExitConfig}
	if isNotExist(err) {
		h.Hint = `"` + p.Name + ` config example" prints a file to start from`
	}
	return h
}
