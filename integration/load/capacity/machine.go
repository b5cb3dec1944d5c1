package capacity

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Machine is what a relay runs on, how much of it may be used, and what it costs.
type Machine struct {
	// Cores, and their speed as a multiple of the measured machine's.
	Cores float64 `json:"cores"`
	Speed float64 `json:"speed"`
	// Memory in bytes.
	Memory float64 `json:"memory_bytes"`
	// Link is the network's bits per second in each direction.
	Link float64 `json:"link_bits_per_second"`
	// The shares that may be in use when all is quiet, from 0 to 1. What is left is
	// for bursts, for the garbage collector and for the tunnels of a relay that died.
	UseCPU    float64 `json:"use_cpu"`
	UseMemory float64 `json:"use_memory"`
	UseLink   float64 `json:"use_link"`

	// Tunnels and Handshakes per second are the relay's limits (relay.limits.tunnels,
	// handshakes_per_second).
	Tunnels    float64 `json:"limit_tunnels"`
	Handshakes float64 `json:"limit_handshakes_per_second"`
	// Back is how long the tunnels of one relay may take to come back to it.
	Back time.Duration `json:"limit_back_ns"`
	// UDPBuffer is the receive buffer of the relay's UDP socket, in bytes.
	UDPBuffer float64 `json:"udp_buffer_bytes"`

	// Spare is how many relays there are beside those that are needed (N+1).
	Spare int `json:"spare"`
	// PriceRelay is what one costs a month, PriceTB what 10^12 bytes cost that it
	// sends, in any currency.
	PriceRelay float64 `json:"price_relay"`
	PriceTB    float64 `json:"price_tb"`
}

// DefaultMachine is a machine of 8 cores and 32 GiB with a relay's default limits.
// The prices are round guesses.
func DefaultMachine() Machine {
	return Machine{
		Cores: 8, Speed: 1, Memory: 32 << 30, Link: 1e9, UseCPU: 0.6, UseMemory: 0.7, UseLink: 0.7,
		Tunnels: 150_000, Handshakes: 2000, Back: 5 * time.Minute, UDPBuffer: 8 << 20,
		Spare: 1, PriceRelay: 50,
	}
}

// Validate reports every value that cannot be used.
func (m Machine) Validate() error {
	var errs []error
	for _, v := range []struct {
		name       string
		value, max float64
	}{
		{"cores", m.Cores, math.MaxFloat64},
		{"speed", m.Speed, math.MaxFloat64},
		{"memory", m.Memory, math.MaxFloat64},
		{"link", m.Link, math.MaxFloat64},
		{"used share of the processors", m.UseCPU, 1},
		{"used share of the memory", m.UseMemory, 1},
		{"used share of the link", m.UseLink, 1},
		{"limit of tunnels", m.Tunnels, math.MaxFloat64},
		{"limit of handshakes per second", m.Handshakes, math.MaxFloat64},
		{"time to come back", m.Back.Seconds(), math.MaxFloat64},
		{"UDP buffer", m.UDPBuffer, math.MaxFloat64},
	} {
		if !(v.value > 0 && v.value <= v.max) {
			errs = append(errs, fmt.Errorf("machine: %s %v, want more than 0, shares at most 1", v.name, v.value))
		}
	}
	for name, value := range map[string]float64{"spare relays": float64(m.Spare), "price of a relay": m.PriceRelay, "price of a TB": m.PriceTB} {
		if !(value >= 0) || math.IsInf(value, 0) {
			errs = append(errs, fmt.Errorf("machine: %s %v, want a number from 0", name, value))
		}
	}
	return errors.Join(errs...)
}
