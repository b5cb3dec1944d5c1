package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// auditCommand has what is done with the audit log without a running control centre; the
// operations of the API come to it.
func auditCommand(app *cli.App) *cobra.Command {
	group := &cobra.Command{Use: "audit", Short: "The audit log: who did what"}
	group.AddCommand(auditVerifyCommand(app))
	return group
}

// verification is what is looked through, and how.
type verification struct {
	inStore  bool
	heads    []string
	unsigned bool
}

func auditVerifyCommand(app *cli.App) *cobra.Command {
	var v verification
	cmd := &cobra.Command{
		Use:   "verify FILE | --store",
		Short: "Look through the chain of an audit log, and name the first entry that is wrong",
		Long: "Looks through an export (JSON lines; - is standard input), or with --store through all logs\n" +
			"in the database: whether entries were changed, removed, added, put in another order or\n" +
			"written anew. That the end was cut off, or all was written anew, is found by heads that were\n" +
			"kept elsewhere: --head takes a file with one, or the one itself.\n\n" +
			"Signatures are checked with the trust bundle of the configuration's credentials.\n\n" +
			"Exit code 0: nothing is wrong; 1: something is; 2: wrong usage.",
		Example: "  ccc audit verify audit-2026-11-26.jsonl --config /etc/ccc.yaml\n" +
			"  ccc audit verify new.jsonl --head old-head.txt --config /etc/ccc.yaml\n" +
			"  ccc audit verify --store --config /etc/ccc.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if v.inStore != (len(args) == 0) || len(args) > 1 {
				return &cli.Hint{Err: errors.New("what is to be verified is one file, or --store"), ExitCode: cli.ExitUsage}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(app, cmd, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&v.inStore, "store", false, "look through the database of the configuration")
	f.StringArrayVar(&v.heads, "head", nil, "`file` with a head that was kept, or the head; may be repeated")
	f.BoolVar(&v.unsigned, "unsigned", false, "do not look at signatures, for a machine without the credentials' trust bundle")
	return cmd
}

func (v verification) run(app *cli.App, cmd *cobra.Command, args []string) error {
	open := audit.ReadHead
	if !v.unsigned {
		cfg := defaultConfig()
		if err := app.Load(&cfg); err != nil {
			return &cli.Hint{Err: err, Hint: "--config names the configuration; --unsigned does without", ExitCode: cli.ExitConfig}
		}
		creds, err := enrol.LoadCredentials(cfg.Credentials)
		if err != nil {
			return &cli.Hint{Err: err, Hint: "--unsigned does without them", ExitCode: cli.ExitConfig}
		}
		open = func(text string) (audit.Head, error) { return audit.OpenHead(creds, text) }
	}
	heads, err := v.kept(open)
	if err != nil {
		return err
	}
	var reports []audit.Report
	if v.inStore {
		err = openDatabase(cmd.Context(), app, func(db database) (err error) {
			reports, err = storeVerifier{db: db.DB, open: open, heads: heads, progress: progressTo(cmd.ErrOrStderr())}.run(cmd.Context())
			return err
		})
	} else {
		var r audit.Report
		r, err = v.file(cmd, args[0], open, heads)
		reports = append(reports, r)
	}
	if err != nil {
		return err
	}
	return v.print(app, cmd, reports)
}

// kept reads the heads of the command line.
func (v verification) kept(open func(string) (audit.Head, error)) (all []audit.Head, err error) {
	for _, text := range v.heads {
		if !strings.HasPrefix(text, "eyJ") {
			file, err := os.ReadFile(text)
			if err != nil {
				return nil, &cli.Hint{Err: err, ExitCode: cli.ExitUsage}
			}
			text = string(file)
		}
		h, err := open(strings.TrimSpace(text))
		if err != nil {
			return nil, &cli.Hint{Err: err, Hint: "a head is the field head of \"ccc audit head --json\", or of an export's last line"}
		}
		all = append(all, h)
	}
	return all, nil
}

func (v verification) file(cmd *cobra.Command, name string, open func(string) (audit.Head, error), heads []audit.Head) (audit.Report, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return audit.Report{}, err
		}
		defer f.Close()
		in = f
	}
	r, err := audit.Verify(in, audit.Options{Open: open, Heads: heads, Progress: progressTo(cmd.ErrOrStderr())})
	r.Signed = r.Signed && !v.unsigned
	return r, err
}

// progressTo shows how many entries were looked at, on a terminal.
func progressTo(w io.Writer) func(int64) {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(n int64) { _, _ = fmt.Fprintf(w, "\r%d entries", n) }
}

func (v verification) print(app *cli.App, cmd *cobra.Command, reports []audit.Report) error {
	t := &cli.Table{Header: []string{"TENANT", "ENTRIES", "LAST", "HASH", "SIGNED", "RESULT"}}
	var first *audit.Fault
	for _, r := range reports {
		result := "good"
		if r.Fault != nil {
			result = r.Fault.Error()
			if first == nil {
				first = r.Fault
			}
		}
		signed := "checked"
		if v.unsigned || !r.Signed {
			signed = "not checked"
		}
		t.Add(r.Tenant, r.Entries, r.Last, r.Hash.String()[:16], signed, result)
	}
	if err := app.Print(cmd, reports, t); err != nil {
		return err
	}
	if first != nil {
		return &cli.Hint{Err: fmt.Errorf("the audit log is not as it was written: %w", first), Hint: "an older export, or a backup of the database, shows what was there"}
	}
	return nil
}

// audited has the commands of a group that change the database be told of in the audit
// log: as "cli." and their names, done by nobody but this program.
func audited(group *cobra.Command) *cobra.Command {
	for _, c := range group.Commands() {
		audited(c)
		if c.RunE == nil || c.Name() == "list" {
			continue
		}
		run := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			names := strings.Fields(cmd.CommandPath())[1:]
			operation := "cli." + strings.ReplaceAll(strings.Join(names, "_"), "-", "_")
			cmd.SetContext(store.WithAct(cmd.Context(), &store.Act{Actor: "ccc", Operation: operation}))
			return run(cmd, args)
		}
	}
	return group
}
