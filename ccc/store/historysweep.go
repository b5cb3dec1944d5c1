package store

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// SweepHistory removes up to limit intervals that ended before a time, the oldest first, and
// tells how many: less than limit where none is left.
func (t *Tx) SweepHistory(before time.Time, limit int) (int, error) {
	return t.sweep(`DELETE FROM presence_history WHERE id IN
		(SELECT id FROM presence_history WHERE ended > 0 AND ended < $1 ORDER BY ended LIMIT $2)`, before, limit)
}

// Ownership is a PBX in the time of one owner.
type Ownership struct {
	Serial identity.Serial
	Epoch  uint64
}

// HistoryLength is how many intervals there are of an ownership.
type HistoryLength struct {
	Ownership
	Intervals int
}

// HistoryLengths counts the intervals of the ownerships that come after one, in their order:
// of limit of them, so that no view takes long.
func (t *Tx) HistoryLengths(after Ownership, limit int) ([]HistoryLength, error) {
	return rows(t, func(s scanner) (v HistoryLength, err error) {
		err = s.Scan(&v.Serial, &v.Epoch, &v.Intervals)
		return v, err
	}, historyLengths, after.Serial, after.Epoch, limit)
}

const historyLengths = `SELECT serial, epoch, count(*) FROM presence_history WHERE (serial, epoch) > ($1, $2)
	GROUP BY serial, epoch ORDER BY serial, epoch LIMIT $3`

// TrimHistory removes up to limit intervals of an ownership that has more than most, the
// oldest first, and tells how many: less than limit where it has no more than most.
func (t *Tx) TrimHistory(of Ownership, most, limit int) (int, error) {
	n, err := row(t, value[int], "SELECT count(*) FROM presence_history WHERE serial = $1 AND epoch = $2", of.Serial, of.Epoch)
	if err != nil || n <= most {
		return 0, err
	}
	return t.sweep(`DELETE FROM presence_history WHERE id IN
		(SELECT id FROM presence_history WHERE serial = $1 AND epoch = $2 ORDER BY started, id LIMIT $3)`, of.Serial, of.Epoch, min(limit, n-most))
}
