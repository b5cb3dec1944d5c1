package accesslog

import (
	"strconv"
	"time"
)

// Find is [Reader.At] for what this process keeps. until is when the log has forgotten it
// at the latest; zero where it does not keep anything.
func (l *Log) Find(reference string) (rec Record, found bool, until time.Time, err error) {
	if !l.enabled() {
		return rec, false, until, nil
	}
	rec, found, err = Reader{Dir: l.cfg.Dir, Now: l.cfg.Now}.At(reference)
	return rec, found, l.Until(reference), err
}

// Until tells when the log has forgotten an access at the latest; zero for what is none.
func (l *Log) Until(reference string) time.Time {
	at, err := strconv.ParseInt(reference, 10, 64)
	if err != nil || !l.enabled() {
		return time.Time{}
	}
	return time.UnixMicro(at).UTC().Truncate(time.Hour).Add(l.cfg.RawFor)
}
