package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// listenCheck is how often a connection on which nothing comes is tried.
const listenCheck = 30 * time.Second

func (db *postgresDB) listen(ctx context.Context) (*pgx.Conn, error) {
	config, err := db.cfg.connConfig(listening)
	if err != nil {
		return nil, err
	}
	conn, err := db.cfg.connect(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{channel(db.cfg.Schema)}.Sanitize()); err != nil {
		closeConn(conn)
		return nil, err
	}
	return conn, nil
}

// follow wakes for the changes of others until ctx ends. When it has a connection
// again, it wakes as well: it may have missed something.
func (db *postgresDB) follow(ctx context.Context, conn *pgx.Conn) {
	var pause time.Duration
	for {
		if conn != nil {
			err := db.receive(ctx, conn)
			closeConn(conn)
			if ctx.Err() != nil {
				return
			}
			db.cfg.Logger.Warn("no longer told of changes to the store by other processes; connecting again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		var err error
		if conn, err = db.listen(ctx); err != nil {
			conn = nil
			pause = min(max(2*pause, 50*time.Millisecond), 5*time.Second)
			continue
		}
		pause = 0
		db.wake()
		db.cfg.Logger.Info("told again of changes to the store by other processes")
	}
}

func (db *postgresDB) receive(ctx context.Context, conn *pgx.Conn) error {
	for {
		wait, cancel := context.WithTimeout(ctx, listenCheck)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			if n.Payload != db.id {
				db.wake()
			}
		case ctx.Err() != nil || !pgconn.Timeout(err):
			return err
		default:
			check, cancel := context.WithTimeout(ctx, db.cfg.ConnectTimeout)
			err := conn.Ping(check)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}

// wake never waits: one wakeup in the channel stands for any number.
func (db *postgresDB) wake() {
	select {
	case db.wakeups <- struct{}{}:
	default:
	}
}
