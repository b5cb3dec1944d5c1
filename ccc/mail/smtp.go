package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	netmail "net/mail"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// try sends a mail. The failure is empty where the server has taken it; final says that it
// is no use to try again.
func (o *Outbox) try(ctx context.Context, m store.Mail) (failure string, final bool) {
	v, err := o.open(m)
	if err != nil {
		o.cfg.Logger.Error("a mail does not open", "mail", m.ID, "error", err)
		return failureSealed, false // the key may come back
	}
	msg, err := o.message(m.ID, v)
	if err != nil {
		o.cfg.Logger.Error("a mail cannot be written", "mail", m.ID, "error", err)
		return failureWords, true
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.cfg.Timeout)
	defer cancel()
	// At the end of the program what is on its way gets there, or it would come twice.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	return o.send(sending, msg)
}

// grace is how long a mail may still be sent after Run was to end.
const grace = 5 * time.Second

// message makes a mail of the words.
func (o *Outbox) message(id store.MailID, v Message) (*gomail.Msg, error) {
	w, err := v.write()
	if err != nil {
		return nil, err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&netmail.Address{Name: oneLine(v.Brand.Name) + " Control Center", Address: o.cfg.From})
	if o.cfg.ReplyTo != "" {
		if err := msg.ReplyTo(o.cfg.ReplyTo); err != nil {
			return nil, err
		}
	}
	msg.AddToMailAddress(&netmail.Address{Address: v.To})
	msg.Subject(w.subject)
	msg.SetDate()
	msg.SetMessageIDWithValue(string(id) + "@" + hostOf(o.cfg.From))
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5
	msg.SetGenHeader("Content-Language", string(v.Language))
	msg.SetBodyString(gomail.TypeTextPlain, w.plain)
	msg.AddAlternativeString(gomail.TypeTextHTML, w.html)
	return msg, nil
}

// send hands a mail over. ctx bounds all of it: the library has its own bounds for single
// steps only, and leaves the connection open after some errors.
func (o *Outbox) send(ctx context.Context, msg *gomail.Msg) (failure string, final bool) {
	var line connection
	defer line.close()
	defer context.AfterFunc(ctx, line.close)()
	client, err := o.client(&line)
	if err != nil {
		o.cfg.Logger.Error("mails cannot be sent", "error", err)
		return FailureUnreachable, false
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		failure = dialFailure(err)
		o.cfg.Logger.Warn("the mail server is of no use", "failure", failure)
		return failure, false
	}
	err = client.SendWithSMTPClient(session, msg)
	if msg.IsDelivered() {
		_ = session.Quit() // it has taken the mail, whatever it says now
		return "", true
	}
	refused, ok := errors.AsType[*gomail.SendError](err)
	if !ok || refused.ErrorCode() < 400 {
		return FailureUnreachable, false
	}
	failure = strconv.Itoa(refused.ErrorCode())
	if code := refused.EnhancedStatusCode(); code != "" {
		failure += " " + code
	}
	return failure, refused.ErrorCode() >= 500
}

// client makes one for one connection.
func (o *Outbox) client(line *connection) (*gomail.Client, error) {
	host, text, err := net.SplitHostPort(o.cfg.Server)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	secure := o.tls.Clone()
	secure.ServerName = host
	options := []gomail.Option{
		gomail.WithPort(port), gomail.WithTimeout(o.cfg.Timeout), gomail.WithHELO(o.cfg.Hello), gomail.WithTLSConfig(secure),
		gomail.WithoutNoop(), gomail.WithoutRset(),
		gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			return line.dial(ctx, network, address, o.cfg.TLS == Implicit, secure)
		}),
	}
	switch o.cfg.TLS {
	case StartTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case Implicit:
		options = append(options, gomail.WithSSL())
	case None:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if o.cfg.User != "" {
		password, err := o.cfg.PasswordFile.Read() // each time, as it may be changed
		if err != nil {
			return nil, err
		}
		options = append(options, gomail.WithUsername(o.cfg.User), gomail.WithPassword(string(password)),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin, gomail.SMTPAuthCramMD5))
	}
	return gomail.NewClient(host, options...)
}

// connection is closed in any case.
type connection struct {
	mu     sync.Mutex // guards the others
	conn   net.Conn
	closed bool
}

func (c *connection) dial(ctx context.Context, network, address string, secure bool, cfg *tls.Config) (conn net.Conn, err error) {
	var dialer net.Dialer
	if secure {
		conn, err = (&tls.Dialer{NetDialer: &dialer, Config: cfg}).DialContext(ctx, network, address)
	} else {
		conn, err = dialer.DialContext(ctx, network, address)
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	if c.closed {
		_ = conn.Close()
	}
	return conn, nil
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.conn != nil {
		_ = c.conn.Close() // twice does no harm
	}
}

// dialFailure says in a word why there is no session. The answer's text stays out of it.
func dialFailure(err error) string {
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		if answer.Code == 535 || answer.Code == 534 || answer.Code == 530 {
			return FailureSignIn
		}
		return strconv.Itoa(answer.Code)
	}
	if strings.Contains(err.Error(), "AUTH") {
		return FailureSignIn
	}
	return FailureUnreachable
}
