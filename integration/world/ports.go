package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken in blocks, below those that the kernel gives to clients: one of
// those could take the port of a relay that is stopped.
const (
	firstPort  = 20_000
	blockSize  = 32 // ports
	blockCount = 375
)

// portBlocks gives loopback ports that no other world has, of this process or of another.
// A block belongs to who listens at its first port: it would be too late to find
// out that a port is taken when the part that it is for starts.
type portBlocks struct {
	held []net.Listener // the first port of each block
	left []int          // ports of the last block
}

// next gives an address that is free for TCP and for UDP.
func (p *portBlocks) next(ctx context.Context) (string, error) {
	for {
		if len(p.left) == 0 {
			if err := p.take(ctx); err != nil {
				return "", err
			}
		}
		addr := address(p.left[0])
		p.left = p.left[1:]
		free, err := unused(ctx, addr)
		if err != nil {
			return "", err
		}
		if free {
			return addr, nil
		}
	}
}

// take takes a block.
func (p *portBlocks) take(ctx context.Context) error {
	var lc net.ListenConfig
	for _, block := range rand.Perm(blockCount) {
		first := firstPort + block*blockSize
		ln, err := lc.Listen(ctx, "tcp", address(first))
		if err != nil {
			continue
		}
		p.held = append(p.held, ln)
		for i := 1; i < blockSize; i++ {
			p.left = append(p.left, first+i)
		}
		return nil
	}
	return fmt.Errorf("each block of ports from %d to %d is taken", firstPort, firstPort+blockCount*blockSize-1)
}

// close gives the blocks back.
func (p *portBlocks) close() error {
	var errs []error
	for _, ln := range p.held {
		errs = append(errs, ln.Close())
	}
	p.held, p.left = nil, nil
	return errors.Join(errs...)
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// unused tells whether nobody has an address, some program that is no world.
func unused(ctx context.Context, addr string) (bool, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return false, nil //nolint:nilerr // that it is taken is the answer
	}
	pc, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return false, ln.Close()
	}
	return true, errors.Join(ln.Close(), pc.Close())
}
