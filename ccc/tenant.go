package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// tenantLine is a tenant as it is printed.
type tenantLine struct {
	ID        store.TenantID `json:"id"`
	Kind      store.Kind     `json:"kind"`
	Parent    store.TenantID `json:"parent,omitempty"`
	Name      string         `json:"name"`
	LegalName string         `json:"legal_name"`
	Brand     string         `json:"brand,omitempty"`
	Created   time.Time      `json:"created"`
}

func lineOfTenant(t store.Tenant) tenantLine {
	return tenantLine{t.ID, t.Kind, t.Parent, t.Name, t.LegalName, t.Brand, t.Created}
}

func printTenants(app *cli.App, cmd *cobra.Command, all []tenantLine) error {
	t := &cli.Table{Header: []string{"ID", "KIND", "NAME", "LEGAL NAME", "PARENT", "CREATED"}}
	for _, l := range all {
		t.Add(l.ID, l.Kind, l.Name, l.LegalName, l.Parent, l.Created.Format(time.DateOnly))
	}
	return app.Print(cmd, all, t)
}

func tenantCommand(app *cli.App) *cobra.Command {
	group := &cobra.Command{Use: "tenant", Short: "Organisations, in the database"}
	var legal, kind, parent, brand string
	add := &cobra.Command{
		Use:     "add NAME",
		Short:   "Add an organisation",
		Example: "  ccc tenant add 'Example' --legal-name 'Example GmbH' --config /etc/ccc.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.TrimSpace(args[0])
			if name == "" {
				return &cli.Hint{Err: errors.New("the name is empty"), ExitCode: cli.ExitUsage}
			}
			legalName := cmp.Or(legal, name)
			if err := wire.CheckTenant(legalName, brand); err != nil {
				return &cli.Hint{
					Err: fmt.Errorf("no PBX could be paired with it: %w", err), ExitCode: cli.ExitUsage,
					Hint: "tenant is the legal name, or NAME without one, as PBXs show it before they are paired",
				}
			}
			return openDatabase(cmd.Context(), app, func(db database) error {
				t := store.Tenant{
					ID: store.NewID[store.TenantID](), Kind: store.Kind(kind), Parent: store.TenantID(parent),
					Name: name, LegalName: legalName, Brand: brand, Created: time.Now(),
				}
				if err := db.Update(cmd.Context(), func(tx *store.Tx) error { return tx.CreateTenant(t) }); err != nil {
					return err
				}
				return printTenants(app, cmd, []tenantLine{lineOfTenant(t)})
			})
		},
	}
	f := add.Flags()
	f.StringVar(&legal, "legal-name", "", "`name` that a PBX shows before it is paired; default: NAME")
	f.StringVar(&kind, "kind", string(store.KindCustomer), "customer, reseller or operator")
	f.StringVar(&parent, "parent", "", "`id` of the organisation that looks after it")
	f.StringVar(&brand, "brand", "", "`id` of its brand; default: by the host that is asked for")
	list := &cobra.Command{
		Use:   "list",
		Short: "List all organisations",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return openDatabase(cmd.Context(), app, func(db database) error {
				var lines []tenantLine
				err := db.View(cmd.Context(), func(tx *store.Tx) error {
					all, err := tx.Tenants()
					lines = make([]tenantLine, len(all))
					for i, t := range all {
						lines[i] = lineOfTenant(t)
					}
					return err
				})
				if err != nil {
					return err
				}
				return printTenants(app, cmd, lines)
			})
		},
	}
	group.AddCommand(add, list)
	return group
}
