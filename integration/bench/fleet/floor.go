package fleet

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Rates are full handshakes with client certificates per second of one core's
// time, while all cores are busy with them: that is how a fleet connects, and what two
// processors of a virtual machine can do together is less than twice what one can.
type Rates struct {
	// Crypto is with nothing but the server's public-key operations: an ephemeral
	// X25519 key and exchange, an ML-KEM-768 encapsulation, one P-256 signature, and
	// two verified ones, the client's own and that of its certificate. The third one,
	// of the intermediate's certificate, could be cached.
	Crypto float64
	// TLS is with crypto/tls, the server's side alone.
	TLS float64
}

// floorTime is how long each of the two is measured.
const floorTime = 700 * time.Millisecond

// Floors are rates measured at several times: between fleets, since that of a moment is
// up to a third off on a machine that is shared.
type Floors []Rates

// Add measures the rates once more.
func (f *Floors) Add(ctx context.Context) error {
	r, err := Floor(ctx)
	if err == nil {
		*f = append(*f, r)
	}
	return err
}

// Mean gives the mean of all; zero without any.
func (f Floors) Mean() (mean Rates) {
	for _, r := range f {
		mean.Crypto += r.Crypto / float64(len(f))
		mean.TLS += r.TLS / float64(len(f))
	}
	return mean
}

// Floor measures the rates.
func Floor(ctx context.Context) (Rates, error) {
	ca, err := pkitest.NewCA(identity.DefaultTrustDomain)
	if err != nil {
		return Rates{}, err
	}
	var r Rates
	r.Crypto, err = everyCore(func() (float64, error) {
		crypto, err := publicKey()
		if err != nil {
			return 0, err
		}
		return perCore(ctx, floorTime, crypto)
	})
	if err != nil {
		return r, err
	}
	td := ca.TrustDomain
	relay := ca.Credentials(identity.Relay(td, "floor")).ServerConfig(nil)
	relay.SessionTicketsDisabled = true // each one is a full handshake
	device := ca.Credentials(identity.Device(td, "0000000001")).ClientConfig("localhost", nil)
	r.TLS, err = everyCore(func() (float64, error) { return handshakeRate(ctx, relay, device) })
	return r, err
}

// handshakeRate is that of a server with one client.
func handshakeRate(ctx context.Context, server, client *tls.Config) (float64, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- handshakes(ctx, ln.Addr().String(), client) }()
	rate, err := perCore(ctx, floorTime, func() error {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		return errors.Join(tls.Server(conn, server).HandshakeContext(ctx), conn.Close())
	})
	cancel()
	return rate, errors.Join(err, ln.Close(), <-ended)
}

// everyCore measures on all cores at once, and gives the mean.
func everyCore(measure func() (float64, error)) (float64, error) {
	rates := make([]float64, runtime.GOMAXPROCS(0))
	var g errgroup.Group
	for i := range rates {
		g.Go(func() (err error) {
			rates[i], err = measure()
			return err
		})
	}
	err := g.Wait()
	var sum float64
	for _, r := range rates {
		sum += r
	}
	return sum / float64(len(rates)), err
}

// perCore calls f for some time, and says how often it could in a second of the
// thread's own CPU time.
func perCore(ctx context.Context, d time.Duration, f func() error) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := threadTime()
	if err != nil {
		return 0, err
	}
	n := 0
	for end := time.Now().Add(d); n == 0 || time.Now().Before(end); n++ {
		if err := errors.Join(ctx.Err(), f()); err != nil {
			return 0, err
		}
	}
	after, err := threadTime()
	if err != nil {
		return 0, err
	}
	return float64(n) / max((after-before).Seconds(), 1e-6), nil
}

func threadTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0, fmt.Errorf("CPU time of a thread: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// handshakes shakes hands, one after the other, until ctx ends.
func handshakes(ctx context.Context, addr string, cfg *tls.Config) error {
	d := tls.Dialer{Config: cfg}
	for {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			// The client is done first, and must not leave before the server is.
			_, _ = conn.Read(make([]byte, 1))
			err = conn.Close()
		}
		if ctx.Err() != nil {
			return nil // the server is measured; what it misses shows there
		}
		if err != nil {
			return err
		}
	}
}

// verifies is how many signatures a server has to check, see [Rates].
const verifies = 2

// publicKey gives one handshake's public-key operations.
func publicKey() (func() error, error) {
	key := pkitest.NewKey()
	hash := sha256.Sum256([]byte("handshake"))
	signed, err := ecdsa.SignASN1(rand.Reader, key, hash[:])
	if err != nil {
		return nil, err
	}
	peer, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	kem, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, err
	}
	encapsulation := kem.EncapsulationKey()
	return func() error {
		ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		if _, err := ephemeral.ECDH(peer.PublicKey()); err != nil {
			return err
		}
		encapsulation.Encapsulate()
		if _, err := ecdsa.SignASN1(rand.Reader, key, hash[:]); err != nil {
			return err
		}
		for range verifies {
			if !ecdsa.VerifyASN1(&key.PublicKey, hash[:], signed) {
				return errors.New("a signature of our own does not verify")
			}
		}
		return nil
	}, nil
}
