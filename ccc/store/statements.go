package store

import (
	"context"
	"database/sql/driver"
	"errors"

	"modernc.org/sqlite"
)

// maxStatements is how many statements a connection to SQLite keeps, a few KiB each: more
// than the package has, as a list can be asked for in many ways.
const maxStatements = 128

// connector opens connections that keep what they have prepared. To parse and plan a
// small statement takes SQLite longer than to run it.
type connector struct{ driver.Connector }

func newConnector(dsn string) (driver.Connector, error) {
	c, err := sqlite.NewConnector(dsn)
	return connector{c}, err
}

// Connect opens one.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	lite, ok := opened.(liteConn)
	if !ok {
		return nil, errors.Join(errors.New("the driver of SQLite cannot do what it could"), opened.Close())
	}
	return &conn{liteConn: lite, statements: map[string]*statement{}}, nil
}

// liteConn is all that the driver's connections do.
type liteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// conn is used by one goroutine at a time, as database/sql has it.
type conn struct {
	liteConn
	statements map[string]*statement // by their SQL
	uses       uint64
}

type liteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type statement struct {
	liteStmt
	reading bool   // its rows are not all read yet
	used    uint64 // conn.uses when it was used last
}

// Unwrap gives the driver's connection to the driver.
func (c *conn) Unwrap() driver.Conn { return c.liteConn }

// statement gives a prepared one; nil while its rows are read.
func (c *conn) statement(ctx context.Context, query string) (*statement, error) {
	s := c.statements[query]
	if s == nil {
		if len(c.statements) >= maxStatements {
			if err := c.forget(); err != nil {
				return nil, err
			}
		}
		prepared, err := c.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		lite, ok := prepared.(liteStmt)
		if !ok {
			return nil, errors.Join(driver.ErrSkip, prepared.Close())
		}
		s = &statement{liteStmt: lite}
		c.statements[query] = s
	}
	if s.reading {
		return nil, nil
	}
	c.uses++
	s.used = c.uses
	return s, nil
}

// forget closes the statement that was not used for longest.
func (c *conn) forget() error {
	oldest := ""
	for query, s := range c.statements {
		if !s.reading && (oldest == "" || s.used < c.statements[oldest].used) {
			oldest = query
		}
	}
	if oldest == "" {
		return nil
	}
	defer delete(c.statements, oldest)
	return c.statements[oldest].Close()
}

// ExecContext runs a statement that gives no rows.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.statement(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return c.liteConn.ExecContext(ctx, query, args)
	}
	return s.ExecContext(ctx, args)
}

// QueryContext runs a statement that gives rows.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return c.liteConn.QueryContext(ctx, query, args)
	}
	r, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.reading = true
	return &cachedRows{r, s}, nil
}

// cachedRows are the rows of a statement that is used again after them.
type cachedRows struct {
	driver.Rows
	s *statement
}

// Close ends the reading.
func (r *cachedRows) Close() error {
	r.s.reading = false
	return r.Rows.Close()
}

// BeginTx begins a transaction, with statements that are kept as well.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	begin := beginChange
	if opts.ReadOnly {
		begin = "BEGIN"
	}
	if _, err := c.ExecContext(ctx, begin, nil); err != nil {
		// The context may have ended when it had begun already.
		_ = (*liteTx)(c).Rollback()
		return nil, err
	}
	return (*liteTx)(c), nil
}

// The statements around a change.
const (
	beginChange = "BEGIN IMMEDIATE" // what begins as a view could not go on beside another
	commit      = "COMMIT"
	rollback    = "ROLLBACK"
)

// liteTx is the transaction of a connection.
type liteTx conn

// Commit does not wait: who changes something has the lock for it. Its context has no
// end, so that it is known what became of it.
func (t *liteTx) Commit() error {
	_, err := (*conn)(t).ExecContext(context.Background(), commit, nil)
	if err != nil {
		_ = t.Rollback()
	}
	return err
}

// Rollback undoes everything.
func (t *liteTx) Rollback() error {
	_, err := (*conn)(t).ExecContext(context.Background(), rollback, nil)
	return err
}

// Close closes it with its statements.
func (c *conn) Close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.liteConn.Close())...)
}
