package gateway

import (
	"fmt"
	"net/http"
	"time"

	"golang.org/x/text/language"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// note is one thing that a page says.
type note struct{ Title, Text string }

// texts are the words of one language. No field is empty.
type texts struct {
	Lang, Name, Error, ToCCC string

	Title, Who, Now, Left, Warning, Open, End          string
	PINTitle, PINHelp, PIN, PINSend                    string
	ExtendTitle, ExtendHelp, Minutes, ExtendSend       string
	ExtendPending, ExtendRefused                       string
	Asking, Waiting, Active, Over, Refused, Late, Lost string

	OpenTerminal string
	Terminal     terminalTexts

	// Of a session whose TLS ends in the PBX.
	Sealed string

	Home, Misdirected, Unknown, Often, Gone, Browser, Malformed, Grant, Sessions, Origin note
	Service                                                                              note
	Ended, Pending, Streams, Timeout, Answer, Unreachable, WrongPIN, Tries, State        note
}

var (
	languages = []*texts{&german, &english, &french} // the first one is for everybody else
	matcher   = language.NewMatcher([]language.Tag{language.German, language.English, language.French})
)

// terminalTexts are the words of the page of a terminal.
type terminalTexts struct {
	User, Connect, Connecting, Again            string
	Fingerprint, Pinned, Unpinned, Trust        string
	Answer, Password, Recorded, Unrecorded      string
	Exit, Login, HostKey, Gone, Idle, Slow      string
	Time, Admin, Switch, ByUser, Over, Protocol string
}

// over says why a session is over.
func (t *texts) over(cause grant.Cause) string {
	switch cause {
	case grant.CauseTime:
		return t.Terminal.Time
	case grant.CauseAdmin:
		return t.Terminal.Admin
	case grant.CauseSwitch:
		return t.Terminal.Switch
	case grant.CauseUser:
		return t.Terminal.ByUser
	default:
		return t.Terminal.Over
	}
}

// textOf gives the texts in the language that a browser prefers (RFC 9110 §12.5.4).
func textOf(r *http.Request) *texts {
	_, i := language.MatchStrings(matcher, r.Header.Get("Accept-Language"))
	return languages[i]
}

// state says how a session stands.
func (t *texts) state(v view) string {
	switch {
	case v.lost:
		return t.Lost
	case v.State == grant.Requested:
		return t.Asking
	case v.State == grant.Pending:
		return t.Waiting
	case v.State == grant.Active:
		return t.Active
	case v.State == grant.Refused:
		return t.Refused
	case v.State == grant.Expired:
		return t.Late
	default:
		return t.Over
	}
}

// Clock is the time that is left, as h:mm:ss.
func (e event) Clock() string {
	d := time.Duration(e.Remaining) * time.Second
	return fmt.Sprintf("%d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}
