package blocks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
)

// load reads the file, which holds one snapshot event. No file is the empty
// list. A file that cannot be read leaves the empty list and an error.
func (c *Client) load() error {
	if c.cfg.CacheFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.cfg.CacheFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("block list on disk: %w", err)
	}
	e, err := ParseEvent(text)
	if err == nil && e.Type != TypeSnapshot {
		err = fmt.Errorf("%w: type %q, want %q", ErrMalformed, e.Type, TypeSnapshot)
	}
	if err != nil {
		return fmt.Errorf("block list on disk: %s: %w", c.cfg.CacheFile, err)
	}
	list, err := List{}.apply(e)
	if err != nil {
		return fmt.Errorf("block list on disk: %s: %w", c.cfg.CacheFile, err)
	}
	c.list = list
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Epoch, c.status.Blocked = list.epoch, list.Len()
	return nil
}

func (c *Client) save() error {
	if c.cfg.CacheFile == "" {
		return nil
	}
	line, err := json.Marshal(c.list.snapshot())
	if err != nil {
		return err
	}
	if err := atomicfile.Write(c.cfg.CacheFile, append(line, '\n'), 0o644); err != nil {
		return fmt.Errorf("block list on disk: %w", err)
	}
	return nil
}
