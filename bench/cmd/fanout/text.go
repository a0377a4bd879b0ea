package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A message's text is a mark, its number, the time in Unix nanoseconds, and
// letters up to textSize bytes. None of it is escaped in JSON, so that the crowd
// finds it whatever is around it.
const (
	mark     = "@@"
	headSize = len(mark) + 10 + 1 + 19
	textSize = 128
)

var letters = strings.Repeat("x", textSize-headSize-1)

func text(number int) string {
	return fmt.Sprintf("%s%010d %019d %s", mark, number, time.Now().UnixNano(), letters)
}

// scan calls found for each message in b, and returns what may be the beginning
// of one.
func scan(b []byte, found func(number int, sent time.Time)) (rest []byte, err error) {
	for {
		at := bytes.Index(b, []byte(mark))
		if at < 0 {
			if len(b) > 0 && b[len(b)-1] == mark[0] {
				return b[len(b)-1:], nil
			}
			return nil, nil
		}
		b = b[at:]
		if len(b) < headSize {
			return b, nil
		}
		number, err1 := strconv.Atoi(string(b[2:12]))
		sent, err2 := strconv.ParseInt(string(b[13:headSize]), 10, 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("a message is broken: %q", b[:headSize])
		}
		found(number, time.Unix(0, sent))
		b = b[headSize:]
	}
}
