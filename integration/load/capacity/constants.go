package capacity

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"

	"github.com/goccy/go-yaml"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Units of constants, as the unit tags of the fields have them.
const (
	bytesEach    = "bytes each"
	packetsEach  = "packets each"
	secondsEach  = "seconds each"
	secondsPerGB = "seconds per GB"
	bytesPerGB   = "bytes per GB"
	packetsPerGB = "packets per GB"
)

// Constant is a measured number.
type Constant struct {
	// Value in the unit that the constant's field names. Not negative.
	Value float64 `yaml:"value" json:"value"`
	// Unit has to be exactly the field's, so that nobody takes milliseconds for
	// seconds.
	Unit string `yaml:"unit" json:"unit"`
	// Source says where it comes from: the command, the day and the machine.
	Source string `yaml:"source" json:"source"`
}

// Constants are what the model knows about a relay. Every one is needed.
type Constants struct {
	// Machine that was measured, in words, and the day.
	Machine string `yaml:"machine" json:"machine"`
	Date    string `yaml:"date" json:"date"`

	// Base is the memory of a relay beside its tunnels (bytes).
	Base Constant `yaml:"base" json:"base" unit:"bytes"`
	// UDPBuffer is how much of the receive buffer, as it is asked for, a handshake's
	// packet of 1200 bytes takes while it waits there (bytes per packet).
	UDPBuffer Constant `yaml:"udp_buffer" json:"udp_buffer" unit:"bytes per packet"`

	QUIC Transport `yaml:"quic" json:"quic"`
	TCP  Transport `yaml:"tcp" json:"tcp"`
}

// Transport is what tunnels over one transport cost a relay.
type Transport struct {
	// Memory that an idle tunnel adds to the relay's resident memory (bytes each), the
	// garbage collected: the slope between two sizes.
	Memory Constant `yaml:"memory" json:"memory" unit:"bytes each"`
	// Garbage is what it adds beside that before the collector has come to it, right
	// after many have connected (bytes each): the slope between two sizes.
	Garbage Constant `yaml:"garbage" json:"garbage" unit:"bytes each"`
	// StreamMemory is the same of an idle stream that the relay has joined (bytes
	// each), e.g. a kept end-to-end session.
	StreamMemory Constant `yaml:"stream_memory" json:"stream_memory" unit:"bytes each"`
	// Handshake is a full mutual TLS handshake with hello and welcome.
	Handshake Event `yaml:"handshake" json:"handshake"`
	// Heartbeat is one of a device with its answer.
	Heartbeat Event `yaml:"heartbeat" json:"heartbeat"`
	// FirstCall is a call that makes an end-to-end session with its device, Call one
	// in a session that is there: a page of 1 KiB, or 64 bytes there and back.
	FirstCall Event `yaml:"first_call" json:"first_call"`
	Call      Event `yaml:"call" json:"call"`
	// Bulk is payload through the tunnel, encrypted end to end.
	Bulk Bulk `yaml:"bulk" json:"bulk"`
}

// Event is what one event costs a relay.
type Event struct {
	// CPU is processor time, user mode and kernel (seconds each).
	CPU Constant `yaml:"cpu" json:"cpu" unit:"seconds each"`
	// IP packets that the relay receives and sends (packets each), and their bytes
	// with headers (bytes each).
	PacketsIn  Constant `yaml:"packets_in" json:"packets_in" unit:"packets each"`
	PacketsOut Constant `yaml:"packets_out" json:"packets_out" unit:"packets each"`
	BytesIn    Constant `yaml:"bytes_in" json:"bytes_in" unit:"bytes each"`
	BytesOut   Constant `yaml:"bytes_out" json:"bytes_out" unit:"bytes each"`
}

// Bulk is what 10^9 bytes of payload cost that the relay carries from one side to
// the other. What it receives it also sends.
type Bulk struct {
	// CPU is processor time (seconds per GB).
	CPU Constant `yaml:"cpu" json:"cpu" unit:"seconds per GB"`
	// Packets in each direction, acknowledgements included (packets per GB), and
	// their bytes (bytes per GB).
	Packets Constant `yaml:"packets" json:"packets" unit:"packets per GB"`
	Bytes   Constant `yaml:"bytes" json:"bytes" unit:"bytes per GB"`
}

//go:embed constants.yaml
var shipped []byte

// Default gives the constants that are part of the program.
func Default() (Constants, error) {
	var c Constants
	err := configs.Load(&c, configs.Source{Path: "constants.yaml", Text: shipped})
	return c, err
}

// Load reads constants from a file. Nothing in it may be unknown, and nothing may be
// missing: constants of two machines are not mixed.
func Load(path string) (Constants, error) {
	var c Constants
	err := configs.Load(&c, configs.Source{Path: path})
	return c, err
}

// Validate reports every constant that is missing or cannot be used.
func (c Constants) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, &configs.KeyError{Key: key, Problem: fmt.Sprintf(format, args...)})
	}
	if c.Machine == "" {
		bad("machine", "is missing")
	}
	if c.Date == "" {
		bad("date", "is missing")
	}
	each(reflect.ValueOf(c), "", "", func(key, unit string, k Constant) {
		switch {
		case k == Constant{}:
			bad(key, "is missing")
		case math.IsNaN(k.Value) || math.IsInf(k.Value, 0) || k.Value < 0:
			bad(key+".value", "%v is not a number from 0", k.Value)
		case k.Unit != unit:
			bad(key+".unit", "is %q, want %q", k.Unit, unit)
		case k.Source == "":
			bad(key+".source", "is missing: where does the number come from?")
		}
	})
	return errors.Join(errs...)
}

// each visits every constant with its key and the unit of its field.
func each(v reflect.Value, key, unit string, visit func(key, unit string, k Constant)) {
	if k, ok := reflect.TypeAssert[Constant](v); ok {
		visit(key, unit, k)
		return
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := f.Tag.Get("yaml")
		if key != "" {
			path = key + "." + path
		}
		each(v.Field(i), path, f.Tag.Get("unit"), visit)
	}
}

// Write writes the constants as [Load] reads them.
func (c Constants) Write(w io.Writer) error {
	text, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("write constants: %w", err)
	}
	_, err = w.Write(text)
	return err
}
