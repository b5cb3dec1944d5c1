package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/server"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func firmwareCommand(app *cli.App) *cobra.Command {
	group := &cobra.Command{
		Use:   "firmware",
		Short: "Firmware images: sign, check, upload",
		Long: "Key, pack, verify and show make and read signed images, without a database and without\n" +
			"a network; upload, list, get and remove are about those of a control centre.\n" +
			"The private key belongs where firmware is made. Control centre and PBXs need the\n" +
			"public one, in rollout.firmware_keys of ccc.yaml and firmware_keys of the PBX.",
	}
	keys := &cobra.Command{Use: "key", Short: "Keys that sign firmware"}
	keys.AddCommand(firmwareKeyCommand(app))
	group.AddCommand(keys, packCommand(app), verifyCommand(app), showCommand(app))
	return group
}

// publicSuffix is that of the file with the public key.
const publicSuffix = ".pub"

func firmwareKeyCommand(app *cli.App) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a key pair",
		Long: "Makes an Ed25519 key. The private key goes to a new file that only its owner can\n" +
			"read, the public one to a file beside it, with \"" + publicSuffix + "\" added. Both are PEM.",
		Example: "  ccc firmware key new --out release.pem",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			public, private, err := ed25519.GenerateKey(nil)
			if err != nil {
				return err
			}
			privateText, err := firmware.EncodePrivate(private)
			if err != nil {
				return err
			}
			publicText, err := firmware.EncodePublic(public)
			if err != nil {
				return err
			}
			// The public key first: a private one that nobody can verify is worth nothing.
			err = server.WriteSecret(out+publicSuffix, strings.TrimSuffix(string(publicText), "\n"))
			if err == nil {
				err = server.WriteSecret(out, strings.TrimSuffix(string(privateText), "\n"))
			}
			if errors.Is(err, fs.ErrExist) {
				return &cli.Hint{Err: err, Hint: "a key is never overwritten; name another file"}
			}
			if err != nil {
				return err
			}
			id := firmware.IDOf(public).String()
			t := &cli.Table{}
			t.Add("private key", out)
			t.Add("public key", out+publicSuffix)
			t.Add("key", id)
			return app.Print(cmd, map[string]string{"private_key": out, "public_key": out + publicSuffix, "key": id}, t)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to make (needed)")
	required(cmd, "out")
	return cmd
}

// required marks flags that are needed.
func required(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err) // each caller has defined it
		}
	}
}

// imageView is what is shown of an image.
type imageView struct {
	firmware.Manifest
	Key string `json:"key"`
	// Verified tells that signature and contents are right.
	Verified bool `json:"verified"`
}

func printImage(cmd *cobra.Command, app *cli.App, v imageView) error {
	t := &cli.Table{}
	t.Add("model", v.Model)
	t.Add("version", v.Version)
	if v.MinVersion != "" {
		t.Add("over", v.MinVersion+" or newer")
	}
	t.Add("released", v.Released)
	t.Add("size", fmt.Sprintf("%d bytes", v.Size))
	t.Add("SHA-256", v.SHA256)
	t.Add("key", v.Key)
	for _, lang := range firmware.Languages {
		if text := v.Notes[lang]; text != "" {
			t.Add("notes, "+lang, strings.ReplaceAll(text, "\n", " / "))
		}
	}
	verified := "no: nobody has looked at the signature"
	if v.Verified {
		verified = "yes"
	}
	t.Add("verified", verified)
	return app.Print(cmd, v, t)
}

func packCommand(app *cli.App) *cobra.Command {
	var m firmware.Manifest
	var keyFile, out string
	var notes []string
	cmd := &cobra.Command{
		Use:   "pack PAYLOAD",
		Short: "Sign a payload and make an image of it",
		Long: "Writes a new file with a signed manifest before the payload. Versions are semantic\n" +
			"ones without \"v\". A PBX takes an image only for its model, and, unless that is asked\n" +
			"for, only a newer one.",
		Example: "  ccc firmware pack system.bin --key release.pem --model \"COMtrexx Business\" \\\n" +
			"      --version 2.1.0 --out comtrexx-2.1.0.ctxfw\n" +
			"  ccc firmware pack system.bin --key release.pem --model \"COMtrexx Business\" \\\n" +
			"      --version 2.2.0 --min-version 2.0.0 --released 2026-12-01 \\\n" +
			"      --note de=\"Neu: …\" --note en=\"New: …\" --out comtrexx-2.2.0.ctxfw",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			usage := func(err error) error { return &cli.Hint{Err: err, ExitCode: cli.ExitUsage} }
			for _, note := range notes {
				lang, text, ok := strings.Cut(note, "=")
				if !ok {
					return usage(fmt.Errorf("--note %q, want a language and a text, as in en=Fixes", note))
				}
				if m.Notes == nil {
					m.Notes = make(map[string]string)
				}
				m.Notes[lang] = text
			}
			if m.Released == "" {
				m.Released = time.Now().UTC().Format(time.DateOnly)
			}
			text, err := configs.SecretFile(keyFile).Read()
			if err != nil {
				return err
			}
			key, err := firmware.ParsePrivate(text)
			if err != nil {
				return &cli.Hint{Err: fmt.Errorf("%s: %w", keyFile, err), Hint: `"ccc firmware key new" makes a key`}
			}
			payload, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = payload.Close() }() // it was only read
			m, err := writeImage(out, payload, m, key)
			if errors.Is(err, firmware.ErrFormat) {
				return usage(err)
			}
			if errors.Is(err, fs.ErrExist) {
				return &cli.Hint{Err: err, Hint: "an image is never overwritten; name another file"}
			}
			if err != nil {
				return err
			}
			return printImage(cmd, app, imageView{m, firmware.IDOf(key.Public().(ed25519.PublicKey)).String(), true})
		},
	}
	f := cmd.Flags()
	f.StringVar(&keyFile, "key", "", "`file` with the private key (needed)")
	f.StringVar(&out, "out", "", "`file` to make (needed)")
	f.StringVar(&m.Model, "model", "", "model of the PBXs it is for (needed)")
	f.StringVar(&m.Version, "version", "", "its version, as in 2.1.0 (needed)")
	f.StringVar(&m.MinVersion, "min-version", "", "the oldest `version` it can be installed over")
	f.StringVar(&m.Released, "released", "", "`date`, YYYY-MM-DD; default: today")
	f.StringArrayVar(&notes, "note", nil, "what is new, `language=text`; once for each of "+strings.Join(firmware.Languages, ", "))
	required(cmd, "key", "out", "model", "version")
	return cmd
}

// writeImage leaves no file where it fails.
func writeImage(out string, payload io.ReadSeeker, m firmware.Manifest, key ed25519.PrivateKey) (firmware.Manifest, error) {
	file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // images are for everybody
	if err != nil {
		return m, err
	}
	m, err = firmware.Pack(file, payload, m, key)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return m, errors.Join(err, os.Remove(out))
	}
	return m, nil
}

func verifyCommand(app *cli.App) *cobra.Command {
	var keyFiles []string
	cmd := &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Check signature and contents of an image",
		Long: "Reads the whole image. The exit code is 0 only where it is signed by one of the keys\n" +
			"and not a byte of it has changed since.",
		Example: "  ccc firmware verify comtrexx-2.1.0.ctxfw --keys release.pem.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := firmware.ReadKeys(keyFiles...)
			if err != nil {
				return err
			}
			return readImage(cmd, app, args[0], true, func(r io.Reader) (*firmware.Image, error) { return firmware.Verify(r, keys) })
		},
	}
	cmd.Flags().StringSliceVar(&keyFiles, "keys", nil, "`files` with public keys (needed)")
	required(cmd, "keys")
	return cmd
}

func showCommand(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:     "show IMAGE",
		Short:   "Print what an image says about itself",
		Long:    "Prints the manifest without checking anything; see \"ccc firmware verify\".",
		Example: "  ccc firmware show comtrexx-2.1.0.ctxfw --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return readImage(cmd, app, args[0], false, firmware.Inspect)
		},
	}
}

func readImage(cmd *cobra.Command, app *cli.App, name string, verified bool, read func(io.Reader) (*firmware.Image, error)) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	img, err := read(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return printImage(cmd, app, imageView{img.Manifest, img.Key.String(), verified})
}
