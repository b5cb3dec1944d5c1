package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
)

// mostSocket is the longest path of a unix socket, in bytes (sockaddr_un).
const mostSocket = 107

// check is what "config check" does beyond loading the file: it looks at the state
// directory.
func (p *program) check(cmd *cobra.Command) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	found := authority.Check(c.Authority, time.Now())
	found = append(found, checkServer(c)...)
	if p.JSON {
		if err := p.Print(cmd, found, nil); err != nil {
			return err
		}
	}
	var wrong []error
	for _, f := range found {
		text := f.Problem
		if f.Hint != "" {
			text += " (" + f.Hint + ")"
		}
		if f.Severe {
			wrong = append(wrong, errors.New(text))
		} else if !p.JSON {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), "note:", text); err != nil {
				return err
			}
		}
	}
	if len(wrong) > 0 {
		return &cli.Hint{Err: errors.Join(wrong...), ExitCode: cli.ExitConfig}
	}
	return nil
}

func checkServer(c config) (found []authority.Finding) {
	if socket := c.Server.Socket(); len(socket) > mostSocket {
		found = append(found, authority.Finding{
			Severe:  true,
			Problem: fmt.Sprintf("server.admin_socket: the path has %d bytes, more than %d", len(socket), mostSocket),
			Hint:    "set a shorter one, as in /run/pki/admin.sock",
		})
	}
	if c.Server.RevocationListen != "" && c.Server.RevocationListen == c.Server.Listen {
		found = append(found, authority.Finding{
			Severe: true, Problem: "server.revocation_listen is the same as server.listen", Hint: "the one without TLS needs a port of its own",
		})
	}
	if strings.HasPrefix(c.Server.PublicURL, "http://") && c.Server.RevocationListen == "" {
		found = append(found, authority.Finding{
			Problem: "server.public_url is http, and there is no listener without TLS",
			Hint:    "set server.revocation_listen, unless a proxy takes these requests",
		})
	}
	slices.SortStableFunc(found, func(a, b authority.Finding) int { return strings.Compare(a.Problem, b.Problem) })
	return found
}
