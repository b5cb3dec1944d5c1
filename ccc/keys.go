package main

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func keyCommand(app *cli.App) *cobra.Command {
	group := &cobra.Command{Use: "key", Short: "Keys of the secrets in the database"}
	var out string
	add := &cobra.Command{
		Use:   "new",
		Short: "Make a key file",
		Long: "Draws a key and writes it to a new file that only its owner can read. To change\n" +
			"keys, put the new file before the old one in the list keys, and start again.\n" +
			"Keep a copy apart from those of the database: without the key, a backup has no\n" +
			"secrets, and every PBX has to be paired anew.",
		Example: "  ccc key new --out /etc/ccc/key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key := seal.NewKey()
			ring, err := seal.New(key)
			if err != nil {
				return err
			}
			if err := server.WriteSecret(out, key); err != nil {
				if errors.Is(err, fs.ErrExist) {
					return &cli.Hint{Err: err, Hint: "a key is never overwritten; name another file"}
				}
				return err
			}
			t := &cli.Table{}
			t.Add("file", out)
			t.Add("key", ring.IDs()[0])
			return app.Print(cmd, map[string]string{"file": out, "key": ring.IDs()[0]}, t)
		},
	}
	add.Flags().StringVar(&out, "out", "", "`file` to make (needed)")
	if err := add.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is defined above
	}
	group.AddCommand(add)
	return group
}

func openapiCommand(*cli.App) *cobra.Command {
	return &cobra.Command{
		Use:     "openapi",
		Short:   "Print the description of the API, OpenAPI 3.1 in JSON",
		Example: "  ccc openapi > ccc.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := api.OpenAPI()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}
