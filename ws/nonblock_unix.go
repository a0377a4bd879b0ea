//go:build unix

package ws

import (
	"io"
	"syscall"
)

// readNow reads what is there without waiting; wait is true if there is
// nothing. The end is io.EOF.
func readNow(fd uintptr, b []byte) (n int, wait bool, err error) {
	for {
		n, err := syscall.Read(int(fd), b)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, true, nil
		case err != nil:
			return 0, false, err
		case n == 0:
			return 0, false, io.EOF
		default:
			return n, false, nil
		}
	}
}
