package pbx

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

func (p *PBX) webCCC(r *http.Request, l login, pg *pages.Page) {
	s := p.store.View()
	now := time.Now()
	d := pages.CCC{
		Phase: s.Phase(), Paired: s.Pairing, Days: s.Settings.ContactDays, OffersOn: s.Switches.Offers, Now: now,
		Administrator: l.administrator(), Local: isLocal(r),
	}
	p.mu.Lock()
	d.Contact = p.contact
	p.mu.Unlock()
	if s.Completing != nil {
		d.Completes = s.Completing.Tenant
	}
	// Pages reload only where somebody has asked for it (WCAG 2.2, 2.2.1), and never
	// while there is a form to fill in.
	if r.URL.Query().Has(waitQuery) && (s.Phase() == state.PhaseUnpaired || s.Phase() == state.PhaseCompleting) {
		d.Waiting, pg.Refresh, pg.RefreshTo = true, 5, "/ccc?"+waitQuery+"&"+autoQuery
	}
	for _, o := range s.Offers {
		d.Offers = append(d.Offers, pages.Offer{Offer: o, Left: o.Expires.Sub(now), TriesLeft: state.MaxTries - o.Tries})
	}
	pg.Data = d
}

func good(key string, args ...any) pages.Notice { return pages.Notice{Key: key, Args: args} }
func bad(key string, args ...any) pages.Notice  { return pages.Notice{Key: key, Args: args, Bad: true} }

// notices are the messages for errors. Those with arguments are in noticeOf.
var notices = []struct {
	err error
	key string
}{
	{errCredentials, "login.wrong"},
	{remote.ErrUnknown, "remote.error.gone"},
	{remote.ErrState, "remote.error.gone"},
	{remote.ErrOff, "remote.error.off"},
	{remote.ErrPairing, "remote.error.pairing"},
	{remote.ErrTooMany, "remote.error.many"},
	{remote.ErrLife, "remote.error.life"},
	{remote.ErrTarget, "remote.error.target"},
	{errOwn, "users.wrong"},
	{errOverwritten, "settings.overwritten"},
	{errBusy, "restart.busy"},
	{errFaulty, "restart.refused"},
	{errNoPrevious, "restart.noprevious"},
	{errUserForm, "users.name"},
	{errUserFull, "users.full"},
	{state.ErrOtherUser, "users.wrong"},
	{token.ErrLength, "ccc.error.length"},
	{token.ErrCheck, "ccc.error.check"},
	{ErrTypos, "ccc.error.typos"},
	{ErrRefused, "ccc.error.refused"},
	{ErrNoAnswer, "ccc.error.noanswer"},
	{errDissolved, "ccc.off.done"},
	{state.ErrUnknownOffer, "ccc.error.gone"},
	{state.ErrPaired, "ccc.error.paired"},
	{state.ErrCompleting, "ccc.completing"},
}

// noticeOf is what people read about an error, with names in their language; ok is false
// for errors that are none of their doing.
func noticeOf(lang string, err error) (n pages.Notice, ok bool) {
	for _, k := range notices {
		if errors.Is(err, k.err) {
			return bad(k.key), true
		}
	}
	if wrong, ok := errors.AsType[*WrongTokenError](err); ok {
		if wrong.Left == 0 {
			return bad("ccc.error.void"), true
		}
		return bad("ccc.error.wrong", wrong.Left), true
	}
	if symbol, ok := errors.AsType[*token.SymbolError](err); ok {
		return bad("ccc.error.symbol", symbol.Position), true
	}
	pr, ok := errors.AsType[*Problem](err)
	switch {
	case !ok:
		return n, false
	case pr == errLength:
		return bad("users.length", password.MinLen, password.MaxLen), true
	case pr.retry > 0:
		return bad("login.wait", int((pr.retry+time.Second-1)/time.Second)), true
	case len(pr.Errors) > 0:
		fields := make([]string, len(pr.Errors))
		for i, e := range pr.Errors {
			fields[i] = strings.TrimPrefix(e.Location, "body.")
			if _, ok := settings.Of(fields[i]); ok {
				fields[i] = pages.Text(lang, "settings."+fields[i])
			}
		}
		return bad("settings.bad", strings.Join(fields, ", ")), true
	}
	return n, false
}

func (p *PBX) webEnable(r *http.Request, l login) (pages.Notice, error) {
	if _, err := p.confirm(r, l, r.PostFormValue("password")); err != nil {
		return pages.Notice{}, err
	}
	err := p.Enable(r.Context(), r.PostFormValue("token"), wire.OfferID(r.PostFormValue("offer")))
	if errors.Is(err, ErrPending) {
		return good("ccc.completing"), nil
	}
	return good("ccc.done"), err
}

func (p *PBX) webReject(r *http.Request, _ login) (pages.Notice, error) {
	return good("ccc.rejected"), p.Reject(wire.OfferID(r.PostFormValue("offer")), r.PostFormValue("report") == "yes")
}

func (p *PBX) webDisable(r *http.Request, _ login) (pages.Notice, error) {
	if r.PostFormValue("sure") != "yes" {
		return pages.Notice{}, nil
	}
	return good("ccc.off.done"), p.Dissolve()
}

func (p *PBX) webPassword(r *http.Request, l login) (pages.Notice, error) {
	if r.PostFormValue("new") != r.PostFormValue("again") {
		return bad("users.differ"), nil
	}
	u, err := p.confirm(r, l, r.PostFormValue("current"))
	if err != nil {
		return pages.Notice{}, err
	}
	return good("users.changed"), p.setPassword(r, u, l.cookie, r.PostFormValue("new"))
}

func (p *PBX) webAddUser(r *http.Request, _ login) (pages.Notice, error) {
	name := strings.TrimSpace(r.PostFormValue("name"))
	err := p.addUser(r, name, r.PostFormValue("new"))
	if errors.Is(err, errUserExists) {
		return bad("users.exists", name), nil
	}
	return good("users.added", name), err
}

func (p *PBX) webDeleteUser(r *http.Request, _ login) (pages.Notice, error) {
	name := r.PostFormValue("name")
	return good("users.deleted", name), p.removeUser(state.UserName(name))
}

func (p *PBX) webSetSwitches(r *http.Request, _ login) (pages.Notice, error) {
	on := func(name string) bool { return r.PostFormValue(name) == "on" }
	return good("saved"), p.setSwitches(func(s *state.Switches) error {
		s.Monitoring, s.CallData, s.Remote, s.Backup, s.Offers = on("monitoring"), on("calldata"), on("remote"), on("backup"), on("offers")
		s.Configuration = on("configuration")
		return nil
	})
}

func (p *PBX) webReset(w http.ResponseWriter, r *http.Request, l login) {
	if r.PostFormValue("sure") != "yes" {
		http.Redirect(w, r, "/reset", http.StatusSeeOther)
		return
	}
	if _, err := p.confirm(r, l, r.PostFormValue("password")); err != nil {
		n, ok := noticeOf(p.language(r), err)
		if !ok {
			p.refuse(w, r, err)
			return
		}
		p.sessions.notice(l.cookie, n)
		http.Redirect(w, r, "/reset", http.StatusSeeOther)
		return
	}
	first, err := p.FactoryReset(r.Context())
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.signOut(w, r, l)
	pg := p.page(r, login{}, "message")
	pg.Data = pages.Message{Title: "reset.done.title", Text: "reset.done.text", Secret: first}
	p.render(w, r, http.StatusOK, pg)
}
