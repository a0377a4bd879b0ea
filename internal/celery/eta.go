package celery

import (
	"bytes"
	"encoding/json"
	"time"
)

// ETA reads the header eta alone; the zero time if there is none or it is no
// time.
func ETA(headers []byte) time.Time {
	var eta time.Time
	if !bytes.Contains(headers, []byte(`"eta":`)) || bytes.Contains(headers, []byte(`"eta": null`)) || bytes.Contains(headers, []byte(`"eta":null`)) {
		return eta
	}
	_ = members(headers, func(key []byte, from, to int) error { // what is no object has none
		if string(key) != "eta" || null(headers[from:to]) {
			return nil
		}
		at, err := readTime(json.RawMessage(headers[from:to]))
		if err == nil {
			eta = at
		}
		return err
	})
	return eta
}
