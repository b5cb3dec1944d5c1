package pbx

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/calls"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// apiPrefix is where the API is, as in the real product.
const apiPrefix = "/api/v1/"

// endpoint answers a request of a signed-in user. An error that is no *Problem becomes
// an internal one.
type endpoint func(p *PBX, w http.ResponseWriter, r *http.Request, l login) error

// access says who may use an endpoint.
type access struct {
	roles []state.Role
	local bool // from the local network only
	// configures: through the control centre only while that is switched on
	configures bool
}

var (
	everybody      = access{roles: []state.Role{state.RoleAdministrator, state.RoleUser, state.RoleCloud}}
	people         = access{roles: []state.Role{state.RoleAdministrator, state.RoleUser}}
	callReaders    = access{roles: []state.Role{state.RoleAdministrator, state.RoleCloud}}
	administrators = access{roles: []state.Role{state.RoleAdministrator}}
	configurers    = access{roles: callReaders.roles, configures: true}
	onSite         = access{roles: []state.Role{state.RoleAdministrator}, local: true}
)

// Refusals.
var (
	errUnauthenticated = problem(http.StatusUnauthorized, "unauthenticated", "Sign in first.")
	errForbidden       = problem(http.StatusForbidden, "forbidden", "This user may not do this.")
	errLocalOnly       = problem(http.StatusForbidden, "local_only", "This can only be done in the system's local network.")
)

// routeAPI adds the API.
func routeAPI(mux *http.ServeMux) {
	add := func(method, path string, a access, f endpoint) {
		handle(mux, method+" "+apiPrefix+path, func(p *PBX, w http.ResponseWriter, r *http.Request) {
			l, ok := p.signedIn(r)
			err := error(errUnauthenticated)
			if ok {
				err = p.admits(a, r, l)
			}
			if err == nil {
				err = f(p, w, r, l)
			}
			if err != nil {
				p.refuse(w, r, err)
			}
		})
	}
	handle(mux, "POST "+apiPrefix+"login", (*PBX).apiLogin)
	add("POST", "logout", everybody, (*PBX).apiLogout)
	add("GET", "system", everybody, (*PBX).apiSystem)
	add("GET", "calldata", callReaders, (*PBX).apiCallData)
	add("GET", "settings", configurers, (*PBX).apiSettings)
	add("GET", "settings/schema", configurers, (*PBX).apiSchema)
	add("PATCH", "settings", configurers, (*PBX).apiSetSettings)
	add("POST", "restart", configurers, (*PBX).apiRestart)
	add("GET", "firmware", configurers, (*PBX).apiFirmware)
	add("PUT", "firmware", configurers, (*PBX).apiSetFirmware)
	add("POST", "firmware/rollback", configurers, (*PBX).apiRollback)
	add("GET", "users", administrators, (*PBX).apiUsers)
	add("POST", "users", administrators, (*PBX).apiAddUser)
	add("DELETE", "users/{name}", administrators, (*PBX).apiRemoveUser)
	add("PUT", "password", people, (*PBX).apiPassword)
	add("GET", "ccc", people, (*PBX).apiCCC)
	add("POST", "ccc/enable", onSite, (*PBX).apiEnable)
	add("POST", "ccc/disable", onSite, (*PBX).apiDisable)
	add("POST", "ccc/offers/{id}/reject", onSite, (*PBX).apiReject)
	add("GET", "switches", people, (*PBX).apiSwitches)
	add("PUT", "switches", onSite, (*PBX).apiSetSwitches)
	add("GET", "remote", administrators, (*PBX).apiRemote)
	add("POST", "remote/pin", onSite, (*PBX).apiNewPIN)
	add("DELETE", "remote/pin", onSite, (*PBX).apiVoidPIN)
	add("GET", "remote/recordings/{name}", administrators, (*PBX).apiRecording)
	add("PUT", "remote/settings", onSite, (*PBX).apiSetRemote)
	add("POST", "remote/{session}/allow", onSite, (*PBX).apiAllow)
	add("POST", "remote/{session}/refuse", onSite, (*PBX).apiRefuse)
	add("POST", "remote/{session}/end", onSite, (*PBX).apiEndRemote)
	add("POST", "factory-reset", onSite, (*PBX).apiReset)
	handle(mux, "/api/", func(p *PBX, w http.ResponseWriter, r *http.Request) {
		p.refuse(w, r, problem(http.StatusNotFound, "not_found", "There is no such resource, or not with this method."))
	})
}

// errSwitchedOff: the administrator does not want it.
var errSwitchedOff = problem(http.StatusForbidden, "switched_off", "Configuration by the control centre is switched off in the system.")

// admits is admit with what the administrator has switched off.
func (p *PBX) admits(a access, r *http.Request, l login) error {
	if err := a.admit(r, l); err != nil {
		return err
	}
	if a.configures && p.byCloud(r, l) && !p.store.View().Switches.Configuration {
		return errSwitchedOff
	}
	return nil
}

// byCloud tells whether it is the control centre that does something.
func (p *PBX) byCloud(r *http.Request, l login) bool {
	return l.Role == state.RoleCloud || callerOf(r.Context()) == p.cloudID()
}

// admit says whether a user may use an endpoint from where he is.
func (a access) admit(r *http.Request, l login) error {
	allowed := false
	for _, role := range a.roles {
		allowed = allowed || role == l.Role
	}
	switch {
	case !allowed:
		return errForbidden
	case a.local && !isLocal(r):
		return errLocalOnly
	}
	return nil
}

func (p *PBX) apiLogin(w http.ResponseWriter, r *http.Request) {
	name, secret, ok := r.BasicAuth()
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="COMtrexx", charset="UTF-8"`)
		p.refuse(w, r, errUnauthenticated)
		return
	}
	u, err := p.check(r, name, secret)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.signIn(w, r, sessionCookie, u)
	writeJSON(w, http.StatusOK, map[string]any{"user": u.Name, "role": u.Role})
}

func (p *PBX) apiLogout(w http.ResponseWriter, r *http.Request, l login) error {
	p.signOut(w, r, l)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// System is what the API tells of the system. Of the machine it is nothing while it is
// not known, or while monitoring is switched off for who asks.
type System struct {
	Serial   string    `json:"serial"`
	Model    string    `json:"model"`
	Firmware string    `json:"firmware"`
	Name     string    `json:"name"`
	Time     time.Time `json:"time"`
	// Boot stands for one start of the PBX: 16 digits of hex, the beginning of the SHA-256
	// of the boot id that it tells relays. It is another after each restart.
	Boot string `json:"boot"`
	// Started is when that was, RunningSeconds how long ago.
	Started        time.Time `json:"started_at"`
	RunningSeconds int64     `json:"running_seconds"`
	// RestartNeeded tells that some settings take effect with the next restart only.
	RestartNeeded bool `json:"restart_needed"`
	*Machine
}

// Machine is the machine that the system runs on. Sizes are in bytes.
type Machine struct {
	Hostname      string      `json:"hostname"`
	OS            string      `json:"os"`
	UptimeSeconds uint64      `json:"uptime_seconds"`
	CPUPercent    float64     `json:"cpu_percent"`
	Load1         float64     `json:"load1"`
	Cores         int         `json:"cores"`
	Memory        facts.Space `json:"memory"`
	Disk          facts.Space `json:"disk"`
}

func (p *PBX) apiSystem(w http.ResponseWriter, _ *http.Request, l login) error {
	s := p.store.View()
	sys := System{
		Serial: string(p.Serial()), Model: p.cfg.Model, Firmware: p.firmwareVersion(), Name: s.Settings.Name, Time: time.Now().UTC(),
		Boot: p.life.boot(), Started: p.life.started().UTC(), RunningSeconds: int64(time.Since(p.life.started()) / time.Second),
		RestartNeeded: p.restartNeeded(),
	}
	if f, err := p.host(); err == nil && (l.Role != state.RoleCloud || s.Switches.Monitoring) {
		sys.Machine = &Machine{
			Hostname: f.Host.Name, OS: f.Host.System, UptimeSeconds: f.Host.Uptime, CPUPercent: f.CPU.Percent,
			Load1: f.CPU.Load, Cores: f.CPU.Cores, Memory: f.Memory, Disk: f.Disk,
		}
	}
	writeJSON(w, http.StatusOK, sys)
	return nil
}

// The page of call data where the request does not say, and the largest.
const (
	pageDefault = 50
	pageMax     = 500
)

// callPage is the envelope of the real product.
type callPage struct {
	Links struct {
		TotalCount int `json:"totalCount"`
	} `json:"_links"`
	Data []calls.Record `json:"data"`
}

func (p *PBX) apiCallData(w http.ResponseWriter, r *http.Request, l login) error {
	s := p.store.View()
	if l.Role == state.RoleCloud && !s.Switches.CallData {
		return problem(http.StatusForbidden, "switched_off", "Call data are switched off in the system.")
	}
	q := calls.Query{Limit: pageDefault}
	bad := problem(http.StatusUnprocessableEntity, "invalid", "Some parameters cannot be used.")
	for _, v := range []struct {
		name string
		max  int
		into *int
	}{{"UserId", 1 << 30, &q.UserID}, {"limit", pageMax, &q.Limit}, {"offset", 1 << 30, &q.Offset}} {
		text := r.URL.Query().Get(v.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > v.max {
			bad.Errors = append(bad.Errors, FieldError{"query." + v.name, fmt.Sprintf("is not a number from 0 to %d", v.max)})
			continue
		}
		*v.into = n
	}
	if len(bad.Errors) > 0 {
		return bad
	}
	var page callPage
	page.Data, page.Links.TotalCount = p.calls(s).Page(time.Now(), q)
	writeJSON(w, http.StatusOK, page)
	return nil
}

// Calls is how many calls are in the call data by now.
func (p *PBX) Calls(now time.Time) int {
	_, total := p.calls(p.store.View()).Page(now, calls.Query{})
	return total
}

func (p *PBX) calls(s *state.State) calls.Generator {
	return calls.New(calls.Config{
		Seed: p.seed(), Since: s.Created.Add(-p.cfg.History), PerDay: s.Settings.CallsPerDay, ZeroID: s.Settings.CallDataIDZero,
	})
}

// ccc is what the API tells of the control centre.
type cccView struct {
	State   state.Phase `json:"state"`
	Enabled bool        `json:"enabled"`
	Paired  *pairedView `json:"paired,omitempty"`
	Offers  []offerView `json:"offers"`
}

type pairedView struct {
	Pairing wire.PairingID `json:"pairing"`
	Tenant  string         `json:"tenant"`
	Since   time.Time      `json:"since"`
	User    state.UserName `json:"user"`
	Epoch   string         `json:"epoch"`
}

type offerView struct {
	ID        wire.OfferID `json:"id"`
	Tenant    string       `json:"tenant"`
	Code      string       `json:"code"`
	ExpiresAt time.Time    `json:"expires_at"`
	TriesLeft int          `json:"tries_left"`
}

func viewOf(s *state.State) cccView {
	v := cccView{State: s.Phase(), Enabled: s.Switches.CCC, Offers: []offerView{}}
	if c := s.Pairing; c != nil {
		v.Paired = &pairedView{c.ID, c.Tenant, c.Since.UTC(), c.User, strconv.FormatUint(c.Epoch, 10)}
	}
	for _, o := range s.Offers {
		v.Offers = append(v.Offers, offerView{o.ID, o.Tenant, o.Code, o.Expires.UTC(), state.MaxTries - o.Tries})
	}
	return v
}

func (p *PBX) apiCCC(w http.ResponseWriter, _ *http.Request, _ login) error {
	writeJSON(w, http.StatusOK, viewOf(p.store.View()))
	return nil
}

func (p *PBX) apiEnable(w http.ResponseWriter, r *http.Request, l login) error {
	var in struct {
		Token    string       `json:"token"`
		Password string       `json:"password"`
		Offer    wire.OfferID `json:"offer"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if _, err := p.confirm(r, l, in.Password); err != nil {
		return err
	}
	switch err := p.Enable(r.Context(), in.Token, in.Offer); {
	case err == nil:
		writeJSON(w, http.StatusOK, viewOf(p.store.View()))
	case errors.Is(err, ErrPending):
		writeJSON(w, http.StatusAccepted, viewOf(p.store.View()))
	default:
		return enableProblem(err)
	}
	return nil
}

// enableProblem says why a token did not pair.
func enableProblem(err error) error {
	for _, k := range []struct {
		err    error
		status int
		code   string
	}{
		{token.ErrLength, http.StatusUnprocessableEntity, "token_length"},
		{token.ErrSymbol, http.StatusUnprocessableEntity, "token_symbol"},
		{token.ErrCheck, http.StatusUnprocessableEntity, "token_check"},
		{ErrTypos, http.StatusTooManyRequests, "too_many_typos"},
		{ErrWrongToken, http.StatusForbidden, "wrong_token"},
		{ErrRefused, http.StatusConflict, "refused"},
		{ErrNoAnswer, http.StatusBadGateway, "no_answer"},
		{errDissolved, http.StatusConflict, "dissolved"},
		{state.ErrUnknownOffer, http.StatusNotFound, "unknown_offer"},
		{state.ErrPaired, http.StatusConflict, "already_paired"},
		{state.ErrCompleting, http.StatusConflict, "completing"},
	} {
		if !errors.Is(err, k.err) {
			continue
		}
		pr := problem(k.status, k.code, err.Error())
		if wrong, ok := errors.AsType[*WrongTokenError](err); ok {
			pr.TriesLeft = &wrong.Left
		}
		return pr
	}
	return err
}

func (p *PBX) apiDisable(w http.ResponseWriter, _ *http.Request, _ login) error {
	if err := p.Dissolve(); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, viewOf(p.store.View()))
	return nil
}

func (p *PBX) apiReject(w http.ResponseWriter, r *http.Request, _ login) error {
	var in struct {
		Report bool `json:"report"`
	}
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if err := p.Reject(wire.OfferID(r.PathValue("id")), in.Report); err != nil {
		return enableProblem(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
