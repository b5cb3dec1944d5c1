package audit

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"

	tlogformat "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Errors about what a log says of itself. Compare with errors.Is.
var (
	// ErrCheckpoint: a checkpoint is malformed, or not signed by the log's key.
	ErrCheckpoint = errors.New("not a checkpoint of this log")
	// ErrForked: the log signed two checkpoints, of which neither contains the
	// other. Keep both: they are the evidence.
	ErrForked = errors.New("the log contradicts a checkpoint that it signed")
	// ErrKey: a log's key is malformed, or the log was signed with another one.
	ErrKey = errors.New("unusable log key")
)

// Key is a log's public key as "<name>+<hash>+<key>", the verifier key of
// https://c2sp.org/signed-note. Its name is also the origin of the checkpoints.
type Key string

// ParseKey checks the form of a key.
func ParseKey(text string) (Key, error) {
	k := Key(text)
	_, err := k.verifier()
	return k, err
}

func (k Key) verifier() (note.Verifier, error) {
	v, err := note.NewVerifier(string(k))
	if err != nil {
		return nil, fmt.Errorf("%w: %w; want <name>+<hash>+<key>, as \"pki audit head\" shows it", ErrKey, err)
	}
	return v, nil
}

// Checkpoint is a signed tree head.
type Checkpoint struct {
	// Origin names the log.
	Origin string `json:"origin"`
	// Size is the number of entries.
	Size int64 `json:"size"`
	// Root is the hash of the tree of that size.
	Root tlog.Hash `json:"root"`
	// Note is the checkpoint as it was signed.
	Note string `json:"checkpoint"`
}

// MaxCheckpoint bounds a checkpoint, in bytes; it has room for witnesses.
const MaxCheckpoint = 64 << 10

// Checkpoint reads a signed checkpoint, an https://c2sp.org/tlog-checkpoint. Errors
// wrap [ErrCheckpoint] or [ErrKey].
func (k Key) Checkpoint(signed []byte) (Checkpoint, error) {
	v, err := k.verifier()
	if err != nil {
		return Checkpoint{}, err
	}
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, fmt.Errorf("%w: larger than %d bytes", ErrCheckpoint, MaxCheckpoint)
	}
	head, _, _, err := tlogformat.ParseCheckpoint(signed, v.Name(), v)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if head.Size > maxSize || len(head.Hash) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: size %d, hash of %d bytes", ErrCheckpoint, head.Size, len(head.Hash))
	}
	return Checkpoint{Origin: head.Origin, Size: int64(head.Size), Root: tlog.Hash(head.Hash), Note: string(signed)}, nil
}

// Consistent checks that the later tree contains the earlier one, by a proof of RFC
// 6962 §2.1.2 (see [Log.Consistency]); trees of size 0 and trees of one size need
// none. Both must come from [Key.Checkpoint]. An error wraps [ErrForked].
func Consistent(earlier, later Checkpoint, proof tlog.TreeProof) error {
	if earlier.Size == 0 {
		return nil
	}
	if later.Size < earlier.Size {
		return fmt.Errorf("%w: it had %d entries and has %d", ErrForked, earlier.Size, later.Size)
	}
	if earlier.Size == later.Size && earlier.Root != later.Root {
		return fmt.Errorf("%w: two trees of %d entries, with the roots %s and %s", ErrForked, later.Size, earlier.Root, later.Root)
	}
	if earlier.Size == later.Size {
		return nil
	}
	if err := tlog.CheckTree(proof, later.Size, later.Root, earlier.Size, earlier.Root); err != nil {
		return fmt.Errorf("%w: no proof that its %d entries begin with those %d: %w", ErrForked, later.Size, earlier.Size, err)
	}
	return nil
}

// signer signs notes with a key that may be outside of the process.
type signer struct {
	note.Verifier
	key crypto.Signer
}

// Sign gives the Ed25519 signature.
func (s signer) Sign(text []byte) ([]byte, error) { return s.key.Sign(nil, text, crypto.Hash(0)) }

// KeyFor gives the public key of the log that has the origin and is signed with the
// Ed25519 key.
func KeyFor(origin string, key crypto.Signer) (Key, error) {
	_, k, err := newSigner(origin, key)
	return k, err
}

// newSigner gives the signer for checkpoints of the origin, with its public key.
func newSigner(origin string, key crypto.Signer) (signer, Key, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return signer{}, "", fmt.Errorf("%w: %T, want Ed25519", ErrKey, key.Public())
	}
	text, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		return signer{}, "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	k := Key(text)
	v, err := k.verifier()
	return signer{v, key}, k, err
}

// sign makes a checkpoint.
func (s signer) sign(size int64, root tlog.Hash) (Checkpoint, error) {
	text := tlogformat.Checkpoint{Origin: s.Name(), Size: uint64(size), Hash: root[:]}.Marshal()
	signed, err := note.Sign(&note.Note{Text: string(text)}, s)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign the checkpoint: %w", err)
	}
	return Checkpoint{Origin: s.Name(), Size: size, Root: root, Note: string(signed)}, nil
}

// sizeOf reads the size of a checkpoint that has been verified before.
func sizeOf(signed []byte) (uint64, error) {
	var head tlogformat.Checkpoint
	_, err := head.Unmarshal(signed)
	if err != nil {
		return 0, fmt.Errorf("%w: its last checkpoint: %w", ErrBroken, err)
	}
	return head.Size, nil
}
