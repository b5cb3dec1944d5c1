package score

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The thresholds of the noise gate. A round is noisy if one of them is passed;
// where more than a third of the rounds are noisy, nothing is reported.
const (
	// maxOthers is the share of the machine that processes other than ours may
	// have, stolen time included. At 10 % two cores lose a fifth of one.
	maxOthers = 0.10
	// maxWaiting is the share of the machine that contestants may have while another
	// one is measured, which costs all of them the same. Each takes 0.1 % for its
	// timers and to give memory back, and a dozen wait; one that is busy takes more.
	maxWaiting = 0.02
	// maxSpin is how much slower the fixed computation may be than the fastest one
	// of the run.
	maxSpin = 1.35
	// maxPing is how much slower the ping-pong over bare loopback may be than the
	// fastest one. It depends on how the kernel places two threads, and varies by
	// two on a quiet machine.
	maxPing = 3.0
)

// Quiet is what is measured of the machine around a round.
type Quiet struct {
	// When names the part of the run: "fleet" or "round 1".
	When string `json:"when"`
	// Spin is the longer one of two fixed computations, before and after the round.
	Spin time.Duration `json:"spin_ns"`
	// Ping is the lower rate of the two ping-pongs, per second.
	Ping float64 `json:"ping_per_second"`
	// Others is the share of the machine's CPU time, from 0 to 1, that went to
	// processes other than ours, or was stolen; a little below 0 where sampling errs.
	Others float64 `json:"others"`
	// Waiting is the share that went to contestants whose turn it was not.
	Waiting float64 `json:"waiting"`
	// Busiest is the one of them that had most of it.
	Busiest string `json:"busiest,omitempty"`
}

// ErrNoisy: the machine was too noisy for a report.
var ErrNoisy = errors.New("the machine was too noisy")

// Gate gives an [ErrNoisy] that names every noisy round, if there are too many.
func Gate(rounds []Quiet) error {
	if len(rounds) == 0 {
		return nil
	}
	fastest, best := rounds[0].Spin, rounds[0].Ping
	for _, q := range rounds {
		fastest, best = min(fastest, q.Spin), max(best, q.Ping)
	}
	var why []string
	for _, q := range rounds {
		spin := float64(q.Spin) / float64(max(fastest, 1))
		ping := best / max(q.Ping, 1)
		switch {
		case q.Others > maxOthers:
			why = append(why, fmt.Sprintf("%s: other processes had %.0f %% of the machine, at most %.0f %%", q.When, 100*q.Others, 100*maxOthers))
		case q.Waiting > maxWaiting:
			why = append(why, fmt.Sprintf("%s: contestants that waited had %.1f %% of the machine, at most %.0f %%, %s the most", q.When, 100*q.Waiting, 100*maxWaiting, q.Busiest))
		case spin > maxSpin:
			why = append(why, fmt.Sprintf("%s: a fixed computation took %.2f times as long as the fastest, at most %.2f", q.When, spin, maxSpin))
		case ping > maxPing:
			why = append(why, fmt.Sprintf("%s: the loopback was %.1f times as slow as the fastest, at most %.1f", q.When, ping, maxPing))
		}
	}
	if 3*len(why) <= len(rounds) {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNoisy, strings.Join(why, "; "))
}

// Spin does a fixed computation of about 30 ms.
func Spin() time.Duration {
	began := time.Now()
	var block [1 << 16]byte
	for range 500 {
		sum := sha256.Sum256(block[:])
		copy(block[:], sum[:])
	}
	return time.Since(began)
}
