package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errParse says nothing of the URL, in which there may be a password.
var errParse = errors.New("url: is not the URL of a PostgreSQL database (" + urlExample + ")")

func (c PostgresConfig) parse() (*pgx.ConnConfig, error) {
	conn, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, errParse
	}
	return conn, nil
}

// purpose is what a connection is for.
type purpose int

const (
	reading purpose = iota
	writing
	listening
)

// connConfig gives the parameters of a connection.
func (c PostgresConfig) connConfig(p purpose) (*pgx.ConnConfig, error) {
	conn, err := c.parse()
	if err != nil {
		return nil, err
	}
	conn.ConnectTimeout = c.ConnectTimeout
	timeout := strconv.FormatInt(c.StatementTimeout.Milliseconds(), 10)
	params := map[string]string{"application_name": "pki", "statement_timeout": timeout}
	if p == writing {
		// A process that hangs, or whose machine has gone, must not keep the lock.
		params["idle_in_transaction_session_timeout"] = timeout
		params["default_transaction_read_only"] = "off"
	}
	for key, value := range params {
		conn.RuntimeParams[key] = value
	}
	return conn, nil
}

// setPassword reads the password, which may have changed.
func (c PostgresConfig) setPassword(_ context.Context, conn *pgx.ConnConfig) error {
	if c.PasswordFile == "" {
		return nil
	}
	password, err := c.PasswordFile.Read()
	if err != nil {
		return err
	}
	conn.Password = string(password)
	return nil
}

func (c PostgresConfig) connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	config = config.Copy()
	if err := c.setPassword(ctx, config); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// closeConn ends a connection; where the server does not answer, after a second.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// transient tells whether the cause of err may go away by itself: the server or the
// connection to it was lost, or the server ended the transaction.
func transient(err error) bool {
	if err == nil || errors.Is(err, ErrUncertain) || errors.Is(err, ErrSchema) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "40001", "40P01", // serialization failure, deadlock
			"25P03", "25006", // idle in transaction, read-only: a standby
			"57P01", "57P02", "57P03", "57P05", // shut down, crashed, starting, idle
			"53300": // too many connections
			return true
		}
		return strings.HasPrefix(e.Code, "08")
	}
	// What is not from the server is from the way to it.
	return errors.Is(err, errLost) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) || isNetwork(err)
}

// errLost: the connection went while it was in use.
var errLost = errors.New("connection lost")

// lost says so where err ended the connection.
func lost(conn *pgx.Conn, err error) error {
	if _, server := errors.AsType[*pgconn.PgError](err); err != nil && !server && conn.IsClosed() {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

func isNetwork(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// explain gives an error of the server or of the way to it the sentinel and the
// hint of this package. Other errors stay as they are.
func explain(err error, schema string) error {
	if err == nil {
		return nil
	}
	e, server := errors.AsType[*pgconn.PgError](err)
	if !server {
		switch {
		case errors.Is(err, ErrUncertain), errors.Is(err, context.Canceled) && !isNetwork(err):
			return err
		case errors.Is(err, errLost), isNetwork(err):
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	}
	switch {
	case e.Code == "28P01", e.Code == "28000":
		return fmt.Errorf("%w: %w (check the user in url, password_file, and the server's pg_hba.conf)", ErrDenied, err)
	case e.Code == "42501":
		return fmt.Errorf("%w: %w (the user has to own the schema %s, or to have the right CREATE on the database)", ErrDenied, err, schema)
	case e.Code == "3D000":
		return fmt.Errorf("%w: %w (make it with createdb)", ErrUnavailable, err)
	case e.Code == "57014", e.Code == "55P03":
		return fmt.Errorf("%w: %w (statement_timeout)", ErrBusy, err)
	case transient(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
