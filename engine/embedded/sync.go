package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// syncEvery is the most that a power cut may take.
const syncEvery = time.Second

// coarse is more than the grain of a file system's times.
const coarse = 50 * time.Millisecond

// syncer brings what was written to the disk. The server can do that too, but
// it opens and syncs a file per stream every second also when nothing was
// written, which is half of what an idle engine costs. Here an idle second
// costs two stats per stream.
type syncer struct {
	dir  string // of the streams
	logs map[string]*blocks
}

func newSyncer(store string) *syncer {
	return &syncer{dir: filepath.Join(store, "jetstream", "$G", "streams"), logs: map[string]*blocks{}}
}

// sync syncs all streams and tells how many files that were.
func (s *syncer) sync() (files int, err error) {
	streams, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	var errs []error
	for _, st := range streams {
		b := s.logs[st.Name()]
		if b == nil {
			b = &blocks{dir: filepath.Join(s.dir, st.Name(), "msgs")}
			s.logs[st.Name()] = b
		}
		n, err := b.sync()
		files += n
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // purged meanwhile
			errs = append(errs, err)
		}
	}
	return files, errors.Join(errs...)
}

// blocks are the files of one stream, <number>.blk. Writes go to the one with
// the highest number, deletions too; what the server rewrites it syncs itself.
type blocks struct {
	dir     string
	changed time.Time // of the directory, when it was listed
	last    int       // the highest number then
	size    int64     // of that file when it was synced last
	written time.Time
}

func (b *blocks) sync() (files int, err error) {
	dir, err := os.Stat(b.dir)
	if err != nil {
		return 0, err
	}
	if !dir.ModTime().Equal(b.changed) {
		return b.syncNew(dir.ModTime())
	}
	if b.last == 0 {
		return 0, nil
	}
	st, err := os.Stat(b.path(b.last))
	if err != nil || st.Size() == b.size && st.ModTime().Equal(b.written) {
		return 0, err
	}
	return 1, b.syncLast(st)
}

// syncNew syncs the file that was the last one, those after it, and the
// directory that names them.
func (b *blocks) syncNew(changed time.Time) (files int, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return 0, err
	}
	from, last := b.last, 0
	if _, err := os.Stat(b.path(from)); err != nil { // it is gone, and its number may come again
		from = 0
	}
	for _, e := range entries {
		name, isBlock := strings.CutSuffix(e.Name(), ".blk")
		n, err := strconv.Atoi(name)
		if !isBlock || err != nil || n < from {
			continue
		}
		if last = max(last, n); n == last {
			b.last = n
		}
		st, err := os.Stat(b.path(n))
		if err == nil && n == last {
			err = b.syncLast(st)
		} else if err == nil {
			err = syncFile(b.path(n))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return files, err
		}
		files++
	}
	if err := syncFile(b.dir); err != nil {
		return files, err
	}
	if b.changed = changed; time.Since(changed) < coarse {
		b.changed = time.Time{} // a file that is made now would not change it again
	}
	return files + 1, nil
}

// syncLast notes what the file was like before it is synced, so that what is
// written meanwhile is seen the next time.
func (b *blocks) syncLast(st os.FileInfo) error {
	if err := syncFile(b.path(b.last)); err != nil {
		return err
	}
	b.size, b.written = st.Size(), st.ModTime()
	return nil
}

func (b *blocks) path(n int) string { return filepath.Join(b.dir, strconv.Itoa(n)+".blk") }

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
