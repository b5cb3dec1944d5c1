package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Addresses of clients may be in the access log and nowhere else, and every other log
// has to pass the redactor of package accesslog. These lists are all places in programs
// that get at an address, and all that write a log by another way than the logger of
// package daemon, each with the reason why no address is kept there. Whoever adds one
// has to say so here.
var (
	addressUses = map[string]string{
		"configs/accesslog/http.go":                   "the access log itself",
		"auerproxy/relay/session.go":                  "to the access log",
		"auerproxy/relay/entry.go":                    "to the access log",
		"auerproxy/relay/bulk.go":                     "to the access log",
		"auerproxy/relay/admin.go":                    "shows sessions of now to the operator, keeps nothing",
		"auerproxy/tunnel/muxtun/listen.go":           "to the callbacks Admit and Refused, and counts handshakes of one source in memory",
		"auerproxy/tunnel/muxtun/session.go":          "implements net.Conn",
		"auerproxy/tunnel/muxtun/stream.go":           "implements net.Conn",
		"auerproxy/tunnel/quictun/quictun.go":         "to the callback Refused",
		"auerproxy/tunnel/quictun/session.go":         "implements net.Conn",
		"auerproxy/tunnel/quictun/stream.go":          "implements net.Conn",
		"auerproxy/tunnel/tunneltest/sessionsuite.go": "for tests",
		"auerproxy/bulk/stream.go":                    "implements net.Conn",
		"auerproxy/agent/forward.go":                  "runs on the PBX: tells its own service who calls (PROXY protocol)",
		"pki/server/server.go":                        "rate limit by network, in memory, forgotten after a minute",
		"pki/acmesrv/server.go":                       "rate limit by network, in memory, forgotten after a minute",
		"ccc/api/protect.go":                          "rate limit by network, in memory",
		"ccc/api/proxy.go":                            "takes the client's address from a trusted proxy, for the rate limit",
		"ccc/api/session.go":                          "limit of wrong passwords by network, in memory",
		"ara/gateway/begin.go":                        "limits beginnings by network, in memory",
		"ara/gateway/control.go":                      "notes a session's last networks, in memory, for connections that no cookie comes with",
		"ara/passthrough/listener.go":                 "to the access log, and to the callbacks Open and Challenge",
	}
	logUses = map[string]string{
		"configs/daemon/daemon.go":            "the logger, which redacts",
		"configs/daemon/output.go":            "the redactor's own way out",
		"configs/daemon/catch_linux.go":       "the redactor's own way out",
		"auerproxy/call.go":                   "a command at a terminal, which nobody connects to",
		"auerproxy/cmd/auer-agent/config.go":  "runs on the PBX",
		"auerproxy/dial/dialtest/dialtest.go": "for tests",
		"ara/gateway/serve.go":                "discards everything",
	}
)

// logWays are the ways to a log that the redactor does not see, by package.
var logWays = map[string][]string{
	"hclog": {"New", "L", "Default", "SetDefault", "FromStandardLogger", "NewInterceptLogger"},
	"os":    {"Stderr"},
	"slog":  {"New", "Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log"},
	"fmt":   {"Print", "Printf", "Println"},
	"log":   {"New", "Print", "Printf", "Println", "Fatal", "Fatalf", "Panic", "Panicf", "Default", "SetOutput", "Writer"},
	"zap":   {"NewProduction", "NewDevelopment", "L", "S"},
}

// addressWays give the address of a client.
var addressWays = []string{"RemoteAddr"}

// uses finds what a file uses of both kinds.
func uses(file *ast.File) (addresses, logs bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			addresses = addresses || slices.Contains(addressWays, n.Sel.Name)
			if id, ok := n.X.(*ast.Ident); ok && id.Obj == nil {
				logs = logs || slices.Contains(logWays[id.Name], n.Sel.Name)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
				logs = true
			}
		}
		return true
	})
	return addresses, logs
}

// checkAddresses complains about uses that are not on the lists, and about entries of
// the lists without a use.
func checkAddresses(files map[string]*ast.File) (complaints []string) {
	for _, rule := range []struct {
		what    string
		allowed map[string]string
		used    func(*ast.File) bool
	}{
		{"gets at the address of a client", addressUses, func(f *ast.File) bool { a, _ := uses(f); return a }},
		{"writes a log that no redactor sees", logUses, func(f *ast.File) bool { _, l := uses(f); return l }},
	} {
		for path, f := range files {
			if _, ok := rule.allowed[path]; rule.used(f) && !ok {
				complaints = append(complaints, fmt.Sprintf("%s %s; an address may be in the access log only: say in addresses_test.go why it is in no other", path, rule.what))
			}
		}
		for path := range rule.allowed {
			if f := files[path]; f == nil || !rule.used(f) {
				complaints = append(complaints, fmt.Sprintf("%s is on the list of what %s, and does not", path, rule.what))
			}
		}
	}
	slices.Sort(complaints)
	return complaints
}

func TestAddressesAreWrittenNowhereElse(t *testing.T) {
	t.Parallel()
	files := map[string]*ast.File{}
	for _, top := range []string{"configs", "pki", "auerproxy", "ara", "ccc", "backup"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && d == nil:
				return nil // there is no such program yet
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "node_modules":
				return fs.SkipDir
			case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			files[filepath.ToSlash(rel)] = f
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 200 {
		t.Fatalf("found %d files", len(files))
	}
	for _, c := range checkAddresses(files) {
		t.Error(c)
	}
}

func TestAddressRuleComplains(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][2]bool{
		`_ = r.RemoteAddr`:                 {true, false},
		`_ = c.RemoteAddr().String()`:      {true, false},
		`fmt.Fprintln(os.Stderr, "x")`:     {false, true},
		`hclog.New(nil).Info("x")`:         {false, true},
		`hclog.L().Info("x")`:              {false, true},
		`slog.Info("x")`:                   {false, true},
		`println("x")`:                     {false, true},
		`log.Printf("%s", r.RemoteAddr)`:   {true, true},
		`fmt.Println("x")`:                 {false, true},
		`log := x.Named("y"); log.Print()`: {false, false},
		`fmt.Fprintln(w, "x"); d.Logger()`: {false, false},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() {\n"+body+"\n}\n", 0)
		if err != nil {
			t.Fatal(err)
		}
		if a, l := uses(f); a != want[0] || l != want[1] {
			t.Errorf("%s: %v, %v", body, a, l)
		}
		complaints := checkAddresses(map[string]*ast.File{"ccc/api/x.go": f})
		found := slices.ContainsFunc(complaints, func(c string) bool { return strings.HasPrefix(c, "ccc/api/x.go ") })
		if found != (want[0] || want[1]) {
			t.Errorf("%s: %v", body, complaints)
		}
	}
}
