package celery

import "bytes"

// Status reads a result's status alone; "" if it has none.
func Status(record []byte) string {
	for _, start := range [...]string{`{"status": "`, `{"status":"`} {
		rest, ok := bytes.CutPrefix(record, []byte(start))
		if !ok {
			continue
		}
		if status, _, ok := bytes.Cut(rest, []byte(`"`)); ok && !bytes.ContainsRune(status, '\\') {
			return string(status)
		}
	}
	r, err := DecodeResult(record)
	if err != nil {
		return ""
	}
	return r.Status
}
