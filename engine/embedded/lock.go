package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	fileLock    = "lock"        // flocked by the holder
	fileInfo    = "engine.json" // where the holder listens, mode 0600
	fileVersion = "VERSION"     // the directory's format
	dirStore    = "jetstream"

	// format is the version of the directory. It changes when older versions
	// of rhubarb could not read what a newer one writes.
	format = "1"
)

// info is what the holder tells those who join. It is a secret of the owner.
type info struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	PID   int    `json:"pid"`
}

// prepare makes the directory and checks that it is ours to use.
func prepare(dir string) error {
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return fmt.Errorf("embedded: %s is a file, not a directory: give another path for the data", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("embedded: make data directory: %w", err)
	}
	path := filepath.Join(dir, fileVersion)
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.WriteFile(path, []byte(format+"\n"), 0o600); err != nil {
			return fmt.Errorf("embedded: the data directory %s is not writable: %w", dir, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("embedded: read data directory: %w", err)
	}
	if v := strings.TrimSpace(string(have)); v != format {
		return fmt.Errorf("embedded: the data in %s has format %q, this version of rhubarb reads %q: use the version that wrote it, or another directory", dir, v, format)
	}
	return nil
}

// tryLock takes the directory's lock, or returns nil if another process holds
// it. The kernel releases it with the process.
func tryLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded: the data directory %s is not writable: %w", dir, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("embedded: lock %s: %w", dir, err)
}

// write publishes where the server is, whole or not at all.
func (i info) write(dir string) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, fileInfo+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("embedded: the data directory %s is not writable: %w", dir, err)
	}
	return os.Rename(tmp, filepath.Join(dir, fileInfo))
}

func readInfo(dir string) (info, error) {
	var i info
	data, err := os.ReadFile(filepath.Join(dir, fileInfo))
	if err == nil {
		err = json.Unmarshal(data, &i)
	}
	if err != nil {
		return i, fmt.Errorf("embedded: where the engine listens: %w", err)
	}
	return i, nil
}
