//go:build unix

package push

import (
	"net"
	"syscall"
)

// rawConn returns the socket of nc if it may be written to directly. A type
// that wraps one may do something in its Write.
func rawConn(nc net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch nc := nc.(type) {
	case *net.TCPConn:
		raw, err = nc.SyscallConn()
	case *net.UnixConn:
		raw, err = nc.SyscallConn()
	}
	if err != nil {
		return nil // the first write will say what is wrong
	}
	return raw
}

// writeNow writes what the socket takes without waiting, maybe nothing. Go's
// sockets are non-blocking.
func writeNow(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}
