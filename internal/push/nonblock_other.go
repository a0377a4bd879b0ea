//go:build !unix

package push

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns nil: every write may wait, on a goroutine made for it.
func rawConn(net.Conn) syscall.RawConn { return nil }

func writeNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
