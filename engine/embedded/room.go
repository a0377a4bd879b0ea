package embedded

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/rhubarb-go/rhubarb/engine"
)

// minStart is how many bytes must be free for the server to start: it writes
// before it can be told to drop anything.
const minStart = 4 << 20

// free tells how many bytes of the directory's disk this user may still write.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("embedded: free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // they differ between systems
}

func roomToStart(dir string) error {
	n, err := free(dir)
	if err == nil && n < minStart {
		err = fmt.Errorf("embedded: the disk of %s is full: %d KiB are free, %d needed. Free some; nothing is lost", dir, n>>10, minStart>>10)
	}
	return err
}

// admit refuses calls while the disk is nearly full, so that what was accepted
// can still be finished.
func (e *Engine) admit() error {
	n, err := free(e.dir)
	if err == nil && n < e.opts.reserve() {
		err = fmt.Errorf("the disk of %s has %d MiB left, calls are accepted from %d on: free some: %w", e.dir, n>>20, e.opts.reserve()>>20, engine.ErrFull)
	}
	return err
}
