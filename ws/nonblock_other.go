//go:build !unix

package ws

import "errors"

func readNow(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }
