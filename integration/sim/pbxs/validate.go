package pbxs

import (
	"errors"
	"fmt"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
)

// Validate gives the first thing that is wrong, in the words of the command line.
func (o *Options) Validate() error {
	switch {
	case o.PBXs < 1:
		return fmt.Errorf("--devices %d, want at least 1", o.PBXs)
	case o.Transport != agent.TransportQUIC && o.Transport != agent.TransportTCP && o.Transport != fleet.TransportMix:
		return fmt.Errorf("--transport %q, want quic, tcp or mix", o.Transport)
	case !(o.Hostile >= 0 && o.Hostile <= 0.5): // NaN too
		return fmt.Errorf("--hostile %g, want a share from 0 to 0.5", o.Hostile)
	case o.hostile() > 0 && len(o.Kinds) == 0:
		return errors.New("--hostile needs --hostile-kinds")
	case o.hostile() > 0 && o.Pair < 1:
		return errors.New("--hostile needs --pair of at least 1: what is refused to hostile PBXs has to work for a good one")
	case o.Pair < 0 || o.Pair > o.good():
		return fmt.Errorf("--pair %d, want at most the %d good PBXs", o.Pair, o.good())
	case !(o.Churn >= 0 && o.Rate >= 0) || o.Dialing < -1:
		return errors.New("--churn, --connect-rate and --dialing cannot be negative")
	case o.Patience <= 0 || o.Duration <= 0:
		return errors.New("--patience and --duration have to be above 0")
	case o.CallsPerDay < 0 || o.CallsPerDay > 10_000:
		return fmt.Errorf("--calls-per-day %d, want 0 to 10000", o.CallsPerDay)
	case !(o.Faulty >= 0 && o.Faulty <= 1):
		return fmt.Errorf("--faulty %g, want a share from 0 to 1", o.Faulty)
	case o.Faulty > 0 && len(o.Faults) == 0:
		return errors.New("--faulty needs --faults")
	case o.Restart < 0 || o.Install < 0 || o.Stay < 0:
		return errors.New("--restart-time, --install-time and --stay cannot be negative")
	case o.Relay != "" && o.CA == "":
		return errors.New("--relay needs --ca, the certificates of the PBXs")
	case o.Relay == "" && (o.CA != "" || o.Centre.URL != ""):
		return errors.New("--ca and --centre go with --relay")
	case o.Centre.URL != "" && (o.Centre.Email == "" || o.Centre.PasswordFile == ""):
		return errors.New("--centre needs --email and --password-file")
	case o.Relay != "" && o.Centre.URL == "" && (o.Pair > 0 || o.hostile() > 0):
		return errors.New("--pair and --hostile need --centre, where that relay is another's")
	}
	return nil
}
