package engine

import (
	"fmt"
	"strings"
)

// Topic says who hears a broadcast, in kombu's terms: an exchange and a
// routing key. Both are made of letters, digits, dots, dashes, underscores and
// "@", and are at most [MaxID] bytes long together.
type Topic struct {
	// Exchange is the first half, for example celeryev.
	Exchange string

	// Key is the second half, for example worker.heartbeat. It may be empty. To
	// Listen it may also be "#", which stands for every key, or end in ".#",
	// which stands for every key that begins like that.
	Key string

	// Direct tells a mailbox: one listens to just this key, and hears what was
	// sent since Listen returned. Such a topic is told apart from one that is
	// not, though they bear the same names. kombu/pidbox.py sends replies so.
	Direct bool
}

// Hears reports whether one who listens to t hears what is sent to another.
func (t Topic) Hears(sent Topic) bool {
	if t.Exchange != sent.Exchange || t.Direct != sent.Direct {
		return false
	}
	if prefix, ok := strings.CutSuffix(t.Key, "#"); ok {
		return strings.HasPrefix(sent.Key, prefix)
	}
	return t.Key == sent.Key
}

// CheckSend returns [ErrLimit], wrapped in words, for a topic that nobody can
// send to.
func (t Topic) CheckSend() error { return t.check(t.Key) }

// CheckListen does so for one that nobody can listen to.
func (t Topic) CheckListen() error {
	key := t.Key
	if rest, ok := strings.CutSuffix(key, "#"); ok && (rest == "" || strings.HasSuffix(rest, ".")) && !t.Direct {
		key = strings.TrimSuffix(rest, ".")
	}
	return t.check(key)
}

func (t Topic) check(key string) error {
	if err := CheckName("exchange", t.Exchange, MaxID); err != nil {
		return err
	}
	if err := CheckSize("topic", len(t.Exchange)+len(t.Key), MaxID); err != nil {
		return err
	}
	for _, name := range []string{t.Exchange, key} {
		for part := range strings.SplitSeq(name, ".") {
			if part == "" && name != "" || strings.IndexFunc(part, notInTopic) >= 0 {
				return fmt.Errorf("topic %q is not made of letters, digits, dashes, underscores and @, with dots between: %w", name, ErrLimit)
			}
		}
	}
	return nil
}

func notInTopic(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '@':
		return false
	}
	return true
}
