package engine

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Layer carries messages to connections that are open now, in whatever process
// they are: to one channel by its name, or to every channel of a group. It is
// Channels' channel layer: at most once, and nothing is stored but what waits
// a moment for its reader. A group's history is a stream, which [Streams]
// keep. All methods may be called at once.
//
// Names of groups and channels are those of Channels, see [CheckGroup] and
// [CheckChannel].
type Layer interface {
	// Attach opens an inbox for the channels of one process.
	Attach(ctx context.Context) (Inbox, error)

	// Send puts each message on its channel and answers each, in order, with
	// [ErrFull] where a plain channel holds its capacity. What is sent to a
	// channel of an inbox that is gone is lost without an error.
	Send(ctx context.Context, msgs []LayerMessage) []error

	// GroupSend sends each message to all channels of its group. A group that
	// nobody is in is no error.
	GroupSend(ctx context.Context, msgs []LayerMessage) []error

	// GroupKeep is GroupSend of messages that are also stored, for the age,
	// rounded up to whole seconds. A group keeps the newest [HistoryCapacity].
	// A message that is answered with nil is stored like a task is.
	GroupKeep(ctx context.Context, msgs []LayerMessage, age time.Duration) []error

	// History returns up to most of a group's stored messages, the oldest
	// first: those after an offset, or from the oldest on if it is 0. gone
	// says that the message of that offset is not there any more, and so
	// perhaps not all that came after it; then it begins with the oldest.
	History(ctx context.Context, group string, after uint64, most int) (msgs []Kept, gone bool, err error)

	// Pop waits for messages on a plain channel, a queue that every process
	// may read, and returns up to most of them, the oldest first. Each goes to
	// one reader, at most once.
	Pop(ctx context.Context, channel string, most int) ([]LayerMessage, error)

	// Announce says who is present in a group by one owner's account, an
	// inbox say, in place of what that owner said before, and for the lease
	// only, rounded up to whole seconds. Nil says that nobody is.
	Announce(ctx context.Context, group, owner string, members []byte, lease time.Duration) error

	// Present returns what the owners have announced for a group.
	Present(ctx context.Context, group string) (map[string][]byte, error)

	// Close closes the engine.
	Close() error
}

// Inbox receives for the channels of one process. Its methods may be called at
// once, Receive by one goroutine at a time.
type Inbox interface {
	// NewChannel makes up the name of a channel that no other has:
	// <prefix>.<32 hex>!<32 hex>, of which the first half is the inbox's. What
	// is sent to it comes out of Receive. The prefix has 1 to 33 bytes.
	NewChannel(prefix string) (string, error)

	// Join makes one of the inbox's channels a member of a group, and returns
	// when messages sent from now on reach it. Joining twice is joining once.
	Join(ctx context.Context, group, channel string) error

	// Leave ends that. Leaving a group it is not in is no error.
	Leave(ctx context.Context, group, channel string) error

	// Receive waits and returns what came, in the order of each sender. An
	// inbox holds [InboxCapacity] messages of [InboxBytes] together for
	// [LayerExpiry]; of more the oldest are dropped.
	Receive(ctx context.Context) ([]Incoming, error)

	// Missed is how many messages were dropped because Receive was late.
	Missed() uint64

	// Close gives up the inbox, its channels and their memberships. A process
	// that dies without it is forgotten by itself. It may be called twice.
	Close() error
}

// LayerMessage is a message and the channel or group it is for.
type LayerMessage struct {
	To string
	// Body is up to [MaxMessage] bytes that the engine does not look into: a
	// map in msgpack, as channels_redis has it, without its reserved key.
	Body []byte
}

// CheckChannel returns [ErrLimit], wrapped in words, for what no engine sends
// to a channel.
func (m LayerMessage) CheckChannel() error {
	if err := CheckChannel(m.To); err != nil {
		return err
	}
	return CheckSize("layer message", len(m.Body), MaxMessage)
}

// CheckGroup does so for what no engine sends to a group.
func (m LayerMessage) CheckGroup() error {
	if err := CheckGroup(m.To); err != nil {
		return err
	}
	return CheckSize("layer message", len(m.Body), MaxMessage)
}

// CheckAnnounce returns [ErrLimit], wrapped in words, for what no engine keeps
// of who is present.
func CheckAnnounce(group, owner string, members []byte) error {
	if err := CheckGroup(group); err != nil {
		return err
	}
	if err := CheckName("owner", owner, MaxID); err != nil {
		return err
	}
	return CheckSize("members", len(members), MaxMessage)
}

// Incoming is a message for some channels of an inbox.
type Incoming struct {
	// Group, if set, is the group it was sent to: it is for all channels that
	// this inbox has in it.
	Group string
	// Channels are those it is for where Group is empty.
	Channels []string
	Body     []byte

	// Offset is that of a message which the group keeps, else 0. Offsets grow
	// along a group's history; other groups' are in between. Before is the
	// offset of the message kept before it, by which one that was missed is
	// noticed: 0 for the first.
	Offset, Before uint64

	// Lost says that messages to the group may have been lost just now, as the
	// connection to the engine was. There is no body.
	Lost bool
}

// Kept is a message in a group's history.
type Kept struct {
	Offset uint64
	Body   []byte
}

const (
	// HistoryCapacity is how many messages a group's history holds.
	HistoryCapacity = 1000
	// LayerCapacity is how many messages wait on a plain channel.
	// channels_redis/core.py capacity.
	LayerCapacity = 100
	// LayerExpiry is how long a message waits. channels_redis/core.py expiry.
	LayerExpiry = time.Minute
	// InboxCapacity and InboxBytes bound what waits in an inbox.
	InboxCapacity = 8192
	InboxBytes    = 16 << 20

	maxLayerName = 99 // channels/layers.py BaseChannelLayer: fewer than 100
)

// CheckGroup returns [ErrLimit], wrapped in words, for what is no name of a
// group: 1 to 99 of A-Z a-z 0-9 - _ and the dot. channels/layers.py
// BaseChannelLayer.group_name_regex.
func CheckGroup(name string) error { return checkLayerName("group", name, name) }

// CheckChannel returns [ErrLimit], wrapped in words, for what is no name of a
// channel: like a group's, and at most one "!" that is not the first.
// channels/layers.py BaseChannelLayer.channel_name_regex.
func CheckChannel(name string) error {
	head, tail, _ := strings.Cut(name, "!")
	if head == "" && name != "" {
		return fmt.Errorf("channel %q has nothing before its \"!\": %w", name, ErrLimit)
	}
	return checkLayerName("channel", name, head+tail)
}

// CheckPlain is [CheckChannel] for a channel that belongs to no inbox; else the
// error is [ErrNotFound].
func CheckPlain(name string) error {
	if err := CheckChannel(name); err != nil {
		return err
	}
	if InboxOf(name) != "" {
		return fmt.Errorf("channel %q belongs to an inbox: %w", name, ErrNotFound)
	}
	return nil
}

func checkLayerName(what, name, plain string) error {
	if err := CheckName(what+" name", name, maxLayerName); err != nil {
		return err
	}
	for i := range len(plain) {
		switch c := plain[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("%s %q has %q, only ASCII letters, digits, dots, dashes and underscores are allowed: %w", what, name, plain[i:i+1], ErrLimit)
		}
	}
	return nil
}

// InboxOf returns the part of a channel's name that names its inbox, with the
// "!", and "" for a plain channel.
func InboxOf(channel string) string {
	if i := strings.IndexByte(channel, '!'); i >= 0 {
		return channel[:i+1]
	}
	return ""
}
