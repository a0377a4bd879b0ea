package control

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is Python's time.monotonic(), which runs from the host's start.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // every Linux has this clock
	}
	return time.Duration(ts.Nano())
}

// resident is the memory that this process occupies, in bytes, or 0 if the
// system does not say. proc(5): the second number of statm counts pages.
func resident() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(raw)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// usage is what the system counts of this process, under Python's names.
// celery/worker/worker.py rusage; getrusage(2), seconds and kilobytes.
func usage() json.RawMessage {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return notAvailable
	}
	raw, err := encode(struct {
		UTime    seconds `json:"utime"`
		STime    seconds `json:"stime"`
		MaxRSS   int64   `json:"maxrss"`
		IxRSS    int64   `json:"ixrss"`
		IdRSS    int64   `json:"idrss"`
		IsRSS    int64   `json:"isrss"`
		MinFlt   int64   `json:"minflt"`
		MajFlt   int64   `json:"majflt"`
		NSwap    int64   `json:"nswap"`
		InBlock  int64   `json:"inblock"`
		OuBlock  int64   `json:"oublock"`
		MsgSnd   int64   `json:"msgsnd"`
		MsgRcv   int64   `json:"msgrcv"`
		NSignals int64   `json:"nsignals"`
		NVCSw    int64   `json:"nvcsw"`
		NIvCSw   int64   `json:"nivcsw"`
	}{
		seconds(time.Duration(ru.Utime.Nano()).Seconds()), seconds(time.Duration(ru.Stime.Nano()).Seconds()),
		int64(ru.Maxrss), int64(ru.Ixrss), int64(ru.Idrss), int64(ru.Isrss), int64(ru.Minflt), int64(ru.Majflt), int64(ru.Nswap),
		int64(ru.Inblock), int64(ru.Oublock), int64(ru.Msgsnd), int64(ru.Msgrcv), int64(ru.Nsignals), int64(ru.Nvcsw), int64(ru.Nivcsw),
	})
	if err != nil { // numbers always encode
		return notAvailable
	}
	return raw
}
