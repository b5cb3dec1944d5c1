package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Names of the files of images, after their ids. One that is coming has another name until
// it is whole and verified.
const (
	imageSuffix = ".ctxfw"
	partSuffix  = ".part"
)

// errTooLarge: more bytes come than an image may have.
var errTooLarge = &Error{Code: CodeTooLarge, Detail: "the image is larger than rollout.firmware_max_size"}

// imageFaults are the codes of images that are not taken.
var imageFaults = []struct {
	err  error
	code Code
}{
	{firmware.ErrKey, CodeFirmwareKey},
	{firmware.ErrSignature, CodeFirmwareSignature},
	{firmware.ErrPayload, CodeFirmwarePayload},
	{firmware.ErrFormat, CodeFirmwareFormat},
}

// FirmwareLimit is how large an image may be, in bytes.
func (s *Service) FirmwareLimit() configs.Bytes { return s.cfg.FirmwareMaxSize }

// UploadTimeout is how long an image may take to come from a person.
func (s *Service) UploadTimeout() time.Duration { return s.cfg.UploadTimeout }

// HasFirmware gives an error with the code [CodeFirmwareOff] where there is no place for images.
func (s *Service) HasFirmware() error {
	if s.cfg.FirmwareDir == "" {
		return &Error{Code: CodeFirmwareOff, Detail: "rollout.firmware_dir is not set"}
	}
	return nil
}

// Upload takes an image, of whose bytes nothing but the header is held in memory: it is there
// once it is whole, signed by a known key and on the disk. Otherwise nothing is left of it. The
// error is an [*Error], one of from, or of the disk.
func (s *Service) Upload(ctx context.Context, by store.UserID, from io.Reader) (v store.Firmware, err error) {
	if err := s.HasFirmware(); err != nil {
		return v, err
	}
	v = store.Firmware{ID: store.NewID[store.FirmwareID](), Uploaded: now(), UploadedBy: by}
	name := s.imageFile(v.ID)
	kept := false // although there is an error
	defer func() {
		if err == nil || kept {
			return
		}
		for _, left := range []string{name + partSuffix, name} {
			if gone := os.Remove(left); gone != nil && !errors.Is(gone, os.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}()
	if err := s.receive(ctx, &v, from, name+partSuffix); err != nil {
		return v, err
	}
	if err := errors.Join(os.Rename(name+partSuffix, name), syncDir(s.cfg.FirmwareDir)); err != nil {
		return v, err
	}
	err = s.cfg.update(ctx, func(tx *store.Tx) error { return tx.CreateFirmware(v) })
	if errors.Is(err, store.ErrConflict) {
		err = errExists(v)
	} else if err != nil {
		kept = s.mayHave(ctx, v.ID)
	}
	return v, err
}

// mayHave tells whether an image may be known. Where the end of a transaction was not heard
// it may; what nobody knows is swept later.
func (s *Service) mayHave(ctx context.Context, id store.FirmwareID) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
	defer cancel()
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Firmware(id)
		return err
	})
	return !errors.Is(err, store.ErrNotFound)
}

func errExists(v store.Firmware) error {
	return &Error{Code: CodeFirmwareExists, Detail: fmt.Sprintf("%s %s is there already", v.Model, v.Version)}
}

// receive writes an image to a file, verifies it on the way, and notes what it is.
func (s *Service) receive(ctx context.Context, v *store.Firmware, from io.Reader, name string) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	limit := int64(s.cfg.FirmwareMaxSize)
	img, err := firmware.Open(io.TeeReader(&bounded{from, limit}, file), s.keys)
	if err == nil {
		v.Model, v.Version, v.KeyID, v.Size = img.Manifest.Model, img.Manifest.Version, img.Key.String(), img.HeaderLen+img.Manifest.Size
		if v.Size > limit {
			return errTooLarge
		}
		if v.Manifest, err = img.Manifest.Encode(); err != nil {
			return err
		}
		if err := s.isNew(ctx, *v); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, img)
	}
	if err == nil {
		return file.Sync()
	}
	for _, f := range imageFaults {
		if errors.Is(err, f.err) {
			return &Error{Code: f.code, Detail: err.Error()}
		}
	}
	return err
}

// isNew looks whether there is an image of the model and version, before all of another comes.
func (s *Service) isNew(ctx context.Context, v store.Firmware) error {
	return s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Firmwares()
		for _, other := range all {
			if other.Model == v.Model && other.Version == v.Version {
				return errExists(v)
			}
		}
		return err
	})
}

// bounded fails with errTooLarge where more comes than is left.
type bounded struct {
	from io.Reader
	left int64
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// RemoveFirmware removes an image. ErrNotFound, or an [*Error] where a rollout that has not
// ended brings it.
func (s *Service) RemoveFirmware(ctx context.Context, id store.FirmwareID) error {
	if err := s.HasFirmware(); err != nil {
		return err
	}
	err := s.cfg.update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Firmware(id); err != nil {
			return err
		}
		return tx.DeleteFirmware(id)
	})
	if errors.Is(err, store.ErrConflict) {
		return &Error{Code: CodeFirmwareInUse, Detail: "end the rollout first"}
	}
	if err != nil {
		return err
	}
	// Whoever reads it at this moment reads on.
	if err := os.Remove(s.imageFile(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Service) imageFile(id store.FirmwareID) string {
	return filepath.Join(s.cfg.FirmwareDir, string(id)+imageSuffix)
}

// Image is one that is brought to a PBX.
type Image struct {
	// Open gives its bytes, from the first on. The caller closes it.
	Open func() (io.ReadCloser, error)
	Size int64 // bytes
	// Begin is called when nothing has to be waited for any more, right before the image is
	// sent. With an error, which is that of Install, it is not.
	Begin func(context.Context) error
}

func (s *Service) image(v store.Firmware) Image {
	return Image{Size: v.Size, Open: func() (io.ReadCloser, error) { return os.Open(s.imageFile(v.ID)) }}
}

// sweepFirmware removes files that no image is of any more, as of a process that was killed.
// Another process may be taking an image at this moment: young ones stay.
func (s *Service) sweepFirmware(ctx context.Context) error {
	if s.cfg.FirmwareDir == "" {
		return nil
	}
	entries, err := os.ReadDir(s.cfg.FirmwareDir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Firmwares()
		for _, v := range all {
			known[filepath.Base(s.imageFile(v.ID))] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || known[e.Name()] || !strings.HasSuffix(strings.TrimSuffix(e.Name(), partSuffix), imageSuffix) || time.Since(info.ModTime()) < s.cfg.UploadTimeout {
			continue
		}
		// Another process, or the sweep at the start, may have been quicker.
		if err := os.Remove(filepath.Join(s.cfg.FirmwareDir, e.Name())); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		s.log.Info("a file of no firmware image is removed", "file", e.Name())
	}
	return nil
}

// openFirmware makes the directory of images, and reads the keys by which they are signed.
func openFirmware(c Config) (firmware.Keys, error) {
	if c.FirmwareDir == "" {
		return nil, nil //nolint:nilnil // there are no images
	}
	if err := os.MkdirAll(c.FirmwareDir, 0o700); err != nil {
		return nil, configs.Under("firmware_dir", err)
	}
	keys, err := firmware.ReadKeys(c.FirmwareKeys...)
	return keys, configs.Under("firmware_keys", err)
}

// syncDir has the names in a directory outlast a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return cmp.Or(err, d.Close())
}
