package load

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrModel: the text is not a load model.
var ErrModel = errors.New("not a load model")

// Kind tells load models apart.
type Kind string

// The kinds of load models.
const (
	Open   Kind = "open"
	Closed Kind = "closed"
)

// Arrivals is how the calls of an open model are spread.
type Arrivals string

// The spreads. Poisson is what many independent customers make.
const (
	Poisson  Arrivals = "poisson"
	Constant Arrivals = "constant"
)

// The bounds of a model.
const (
	maxRate  = 1e6
	maxUsers = 1_000_000
	maxThink = time.Hour
)

// Model says when calls start.
type Model struct {
	Kind Kind
	// Rate is calls per second, of an open model.
	Rate float64
	// Arrivals of an open model.
	Arrivals Arrivals
	// Users of a closed model, and the time that each waits between an answer and
	// the next call.
	Users int
	Think time.Duration
}

// ParseModel reads one of
//
//	open:rate=200[,arrivals=poisson|constant]
//	closed:users=32[,think=100ms]
//
// The error is an [ErrModel] that says what is wrong.
func ParseModel(s string) (Model, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%q is %w: %s", s, ErrModel, fmt.Sprintf(format, args...))
	}
	kind, rest, _ := strings.Cut(s, ":")
	m := Model{Kind: Kind(kind), Arrivals: Poisson}
	keys := map[Kind][]string{Open: {"rate", "arrivals"}, Closed: {"users", "think"}}[m.Kind]
	if keys == nil {
		return Model{}, bad("it starts with neither open: nor closed:")
	}
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(rest, ",") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return Model{}, bad("%q, want key=value", pair)
		case !slices.Contains(keys, key):
			return Model{}, bad("%q is no key of %s, want %s", key, kind, strings.Join(keys, " or "))
		case seen[key]:
			return Model{}, bad("%s is there twice", key)
		}
		seen[key] = true
		if err := m.set(key, value); err != nil {
			return Model{}, bad("%s: %v", key, err)
		}
	}
	if !seen[keys[0]] {
		return Model{}, bad("%s is missing", keys[0])
	}
	if m.Kind == Closed {
		m.Arrivals = ""
	}
	return m, nil
}

func (m *Model) set(key, value string) (err error) {
	switch key {
	case "rate":
		m.Rate, err = strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(m.Rate) || m.Rate <= 0 || m.Rate > maxRate {
			return fmt.Errorf("%q, want calls per second, above 0 and at most %d", value, int(maxRate))
		}
	case "arrivals":
		m.Arrivals = Arrivals(value)
		if m.Arrivals != Poisson && m.Arrivals != Constant {
			return fmt.Errorf("%q, want poisson or constant", value)
		}
	case "users":
		m.Users, err = strconv.Atoi(value)
		if err != nil || m.Users < 1 || m.Users > maxUsers {
			return fmt.Errorf("%q, want 1 to %d", value, maxUsers)
		}
	case "think":
		m.Think, err = time.ParseDuration(value)
		if err != nil || m.Think < 0 || m.Think > maxThink {
			return fmt.Errorf("%q, want a time up to %s, e.g. 100ms", value, maxThink)
		}
	}
	return nil
}

// String is the text that [ParseModel] reads.
func (m Model) String() string {
	switch m.Kind {
	case Open:
		return fmt.Sprintf("open:rate=%s,arrivals=%s", strconv.FormatFloat(m.Rate, 'g', -1, 64), m.Arrivals)
	case Closed:
		return fmt.Sprintf("closed:users=%d,think=%s", m.Users, m.Think)
	default:
		return ""
	}
}

// MarshalText and UnmarshalText are [Model.String] and [ParseModel]; the zero
// Model is the empty text.
func (m Model) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is described at MarshalText.
func (m *Model) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*m = Model{}
		return nil
	}
	*m, err = ParseModel(string(text))
	return err
}
