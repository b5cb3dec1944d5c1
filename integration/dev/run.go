package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// options are the flags.
type options struct {
	bin, dir string
	fresh    bool
	pbxs     int
}

// firstSerial is that of the device, and the PBXs have the next ones.
const firstSerial = 100_000_001

// devices are one that is an agent with a page, and the PBXs.
func (o *options) devices() []world.DeviceConfig {
	list := make([]world.DeviceConfig, o.pbxs+1)
	for i := range list {
		list[i] = world.DeviceConfig{Serial: identity.Serial(fmt.Sprintf("%010d", firstSerial+i)), PBX: i > 0}
	}
	return list
}

// caller is the service whose certificate the printed commands use.
const caller = "helpdesk"

// startTimeout bounds the start of everything.
const startTimeout = time.Minute

// start starts the world in dir and says how it goes.
func (o *options) start(ctx context.Context, out io.Writer, dir string) (*world.World, error) {
	for _, program := range []string{"pki", "auerproxy", "auer-agent", "ccc", "ara", "pbx"} {
		if _, err := os.Stat(filepath.Join(o.bin, program)); err != nil {
			return nil, &cli.Hint{Err: err, Hint: `"make build" makes the programs; --bin says where they are`}
		}
	}
	if o.pbxs < 1 {
		return nil, &cli.Hint{Err: errors.New("--pbxs: want at least one"), ExitCode: cli.ExitUsage}
	}
	begin := time.Now()
	say := func(format string, args ...any) {
		// Nothing can be done where printing fails.
		_, _ = fmt.Fprintf(out, "%6.2fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	say("starting PKI, relay, control centre, gateway, %d PBXs and a device in %s", o.pbxs, dir)
	w, err := world.Start(ctx, world.Config{
		Dir: dir, Kind: world.Processes, Bin: o.bin, Devices: o.devices(), Centre: true, Gateway: true, Heartbeat: 5 * time.Second,
		OnEnd: func(part string, _ error) { say("%s has ended", part) },
	})
	if err != nil {
		return nil, err
	}
	say("PKI, relay, control centre and gateway are up; devices are connecting")
	blocked, err := w.Blocked(ctx)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if blocked > 0 {
		say("%d devices are blocked and stay away; \"pki unblock\" lets them in", blocked)
	}
	if err := w.AwaitDevices(ctx, w.Devices()-blocked); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if _, _, err := w.Credentials(ctx, caller); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	say("all devices are connected")
	if err := w.AwaitNames(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	say("%s, %s and %s have certificates from the PKI's ACME server", w.RelayName(0), world.CentreName, world.GatewayName)
	return w, nil
}

// run is "dev": everything until ctx ends.
func (o *options) run(ctx context.Context, out io.Writer) error {
	if o.fresh {
		if err := removeState(o.dir); err != nil {
			return err
		}
	}
	w, err := o.start(ctx, out, o.dir)
	if err != nil {
		return err
	}
	c, err := newCommands(w, o.bin)
	if err == nil {
		_, err = fmt.Fprint(out, c.text())
	}
	if err != nil {
		return errors.Join(err, w.Close())
	}
	<-ctx.Done()
	_, _ = fmt.Fprintln(out, "\nstopping")
	return w.Close()
}

// removeState removes a directory that a former start has made, and no other.
func removeState(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "pki", "pki.yaml")); err != nil {
		return &cli.Hint{Err: fmt.Errorf("%s was not made by this command", dir), Hint: "remove it yourself if it is not needed"}
	}
	return os.RemoveAll(dir)
}
