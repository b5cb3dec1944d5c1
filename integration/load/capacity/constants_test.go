package capacity

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// round numbers, so that results can be computed by hand.
func sample() Constants {
	k := func(v float64, unit string) Constant { return Constant{v, unit, "made up"} }
	event := func(cpu, in, out, bytesIn, bytesOut float64) Event {
		return Event{
			k(cpu, secondsEach), k(in, packetsEach), k(out, packetsEach), k(bytesIn, bytesEach), k(bytesOut, bytesEach),
		}
	}
	return Constants{
		Machine: "2 cores, made up", Date: "2026-03-01",
		Base: k(20e6, "bytes"), UDPBuffer: k(2048, "bytes per packet"),
		QUIC: Transport{
			Memory: k(90e3, bytesEach), Garbage: k(10e3, bytesEach), StreamMemory: k(20e3, bytesEach),
			Handshake: event(2e-3, 8, 10, 5000, 7000), Heartbeat: event(500e-6, 3, 2, 300, 200),
			FirstCall: event(4e-3, 20, 22, 9000, 9500), Call: event(300e-6, 6, 7, 2000, 2500),
			Bulk: Bulk{k(3, secondsPerGB), k(900e3, packetsPerGB), k(1.1e9, bytesPerGB)},
		},
		TCP: Transport{
			Memory: k(50e3, bytesEach), Garbage: k(10e3, bytesEach), StreamMemory: k(10e3, bytesEach),
			Handshake: event(1e-3, 10, 9, 4000, 5000), Heartbeat: event(200e-6, 2, 1, 220, 170),
			FirstCall: event(2e-3, 16, 16, 8000, 8000), Call: event(200e-6, 4, 4, 1800, 1800),
			Bulk: Bulk{k(1, secondsPerGB), k(1e6, packetsPerGB), k(1.05e9, bytesPerGB)},
		},
	}
}

func TestDefaultConstants(t *testing.T) {
	t.Parallel()
	c, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	each(reflect.ValueOf(c), "", "", func(key, _ string, k Constant) {
		n++
		if !strings.Contains(k.Source, "sim capacity measure") {
			t.Errorf("%s: no command in its source %q", key, k.Source)
		}
	})
	if n != 2+2*(3+4*5+3) {
		t.Errorf("%d constants", n)
	}
}

func TestConstantsRoundTrip(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	want := sample()
	want.QUIC.Heartbeat.CPU.Value = 1.234e-07 // written with an exponent
	if err := want.Write(&text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "constants.yaml")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || got != want {
		t.Errorf("read back as %+v, %v", got, err)
	}
	if _, err := Load(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestConstantsAreStrict(t *testing.T) {
	t.Parallel()
	var good bytes.Buffer
	if err := sample().Write(&good); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ old, new, says string }{
		"as it is":      {"made up", "made up", ""},
		"unknown key":   {"udp_buffer:", "udp_bufer:", `udp_bufer: unknown key (did you mean "udp_buffer"?)`},
		"missing":       {"udp_buffer:", "udp_bufer:", "udp_buffer: is missing"},
		"unit":          {"unit: bytes per packet", "unit: KiB per packet", `udp_buffer.unit: is "KiB per packet", want "bytes per packet"`},
		"no unit":       {"unit: bytes per packet", "", `udp_buffer.unit: is "", want "bytes per packet"`},
		"negative":      {"value: 2048", "value: -1", "udp_buffer.value: -1 is not a number from 0"},
		"not a number":  {"value: 2048", "value: .nan", "udp_buffer.value"},
		"infinite":      {"value: 2048", "value: .inf", "udp_buffer.value"},
		"text":          {"value: 2048.0", "value: 2 KiB", "udp_buffer.value"},
		"twice":         {"tcp:", "quic:", `mapping key "quic" already defined`},
		"no transport":  {"tcp:", "sctp:", "tcp.memory: is missing"},
		"no machine":    {"machine: 2 cores, made up", "", "machine: is missing"},
		"other version": {"machine: 2 cores, made up", "machine: x\nversion: 2", "version: unknown key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(good.String(), tt.old, tt.new, 1)
			if text == good.String() && tt.says != "" {
				t.Fatalf("%q is not in\n%s", tt.old, text)
			}
			var c Constants
			err := configs.Load(&c, configs.Source{Path: "c.yaml", Text: []byte(text)})
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want it to say %s", err, tt.says)
			}
		})
	}
	c := sample()
	c.TCP.Bulk.Bytes.Source = ""
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "tcp.bulk.bytes.source") {
		t.Errorf("a constant without a source: %v", err)
	}
	c = sample()
	c.QUIC.Call.CPU.Value = math.NaN()
	if _, err := Predict(c, Demand{Heartbeat: 1}, DefaultMachine()); err == nil {
		t.Error("a prediction from a constant that is no number")
	}
}
