package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	maxTicket     = 512 // bytes
	maxTTL        = 5 * time.Minute
	ticketTTL     = time.Minute
	ticketVersion = "v1."

	// ticketPurpose keeps a secret that also signs other things from making
	// tickets of them.
	ticketPurpose = "rhubarb ticket\x00"
)

// Tickets issues and checks short-lived permissions for one action on one name.
// See [NewTickets].
type Tickets struct {
	secrets [][]byte
}

// NewTickets returns tickets signed with the secret, which has at least 32
// bytes. Tickets signed with an older one are still good: to change a secret,
// let every process know the new one as an older one first, then sign with it,
// and forget the old one 5 minutes later.
func NewTickets(secret []byte, older ...[]byte) (*Tickets, error) {
	t := &Tickets{}
	for _, s := range append([][]byte{secret}, older...) {
		if len(s) < minSecret {
			return nil, fmt.Errorf("auth: a secret for tickets has %d bytes, it needs %d: make one with openssl rand -hex 32", len(s), minSecret)
		}
		t.secrets = append(t.secrets, bytes.Clone(s))
	}
	return t, nil
}

// Issue returns a ticket for the query parameter ticket of a URL, where it can
// stand as it is. Until its ttl is over, whoever has it may use it, more than
// once. Zero means a minute; more than 5 minutes, an empty name and what does
// not fit into 512 bytes are errors.
func (t *Tickets) Issue(user string, action Action, name string, ttl time.Duration) (string, error) {
	if ttl == 0 {
		ttl = ticketTTL
	}
	switch {
	case !action.valid():
		return "", fmt.Errorf("auth: issue a ticket: Action(%d) does not exist", int(action))
	case name == "":
		return "", fmt.Errorf("auth: issue a ticket to %s: the name is empty", action)
	case len(user) > maxUser:
		return "", errors.New("auth: issue a ticket: the user has more than 256 bytes")
	case ttl < 0 || ttl > maxTTL:
		return "", fmt.Errorf("auth: issue a ticket for %s: it may be good for 5 minutes at most", ttl)
	}
	text := t.sign(ticket{user: user, action: action, name: name, expires: time.Now().Add(ttl)})
	if len(text) > maxTicket {
		return "", fmt.Errorf("auth: issue a ticket: the user and the name are too long together for %d bytes", maxTicket)
	}
	return text, nil
}

// Authenticate checks the query parameter ticket, for any method. The grant is
// for the ticket's action and name alone.
func (t *Tickets) Authenticate(r *http.Request) (*Grant, error) {
	text, err := parameter(r, "ticket")
	if err != nil {
		return nil, err
	}
	found, err := t.check(text)
	if err != nil {
		return nil, err
	}
	g := &Grant{User: found.user, Expires: found.expires}
	*g.list(found.action) = []string{quote(found.name)}
	if g.expired() {
		return nil, refuse("the ticket expired: get a new one")
	}
	return g, nil
}

// ticket is what is signed: a byte for the action, eight for the milliseconds
// since 1970 when it ends, two for the length of the user, the user, the name.
type ticket struct {
	user    string
	action  Action
	name    string
	expires time.Time
}

const ticketHead = 1 + 8 + 2

func (k ticket) encode() []byte {
	b := []byte{byte(k.action)}
	b = binary.BigEndian.AppendUint64(b, uint64(k.expires.UnixMilli()))
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.user)))
	b = append(b, k.user...)
	return append(b, k.name...)
}

func decodeTicket(b []byte) (ticket, error) {
	bad := errors.New("the ticket holds no permission")
	if len(b) < ticketHead {
		return ticket{}, bad
	}
	action := Action(b[0])
	expires := time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:])))
	user := int(binary.BigEndian.Uint16(b[9:]))
	rest := b[ticketHead:]
	if !action.valid() || user > maxUser || user >= len(rest) {
		return ticket{}, bad
	}
	return ticket{user: string(rest[:user]), action: action, name: string(rest[user:]), expires: expires}, nil
}

func (t *Tickets) sign(k ticket) string {
	body := ticketVersion + base64.RawURLEncoding.EncodeToString(k.encode())
	return body + "." + signature(t.secrets[0], body)
}

func signature(secret []byte, body string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(ticketPurpose + body))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// check reads a ticket that one of the secrets signed.
func (t *Tickets) check(text string) (ticket, error) {
	if len(text) > maxTicket {
		return ticket{}, refuse("the ticket has more than 512 bytes: send it as it was issued")
	}
	dot := strings.LastIndexByte(text, '.')
	if !strings.HasPrefix(text, ticketVersion) || dot < len(ticketVersion) {
		return ticket{}, refuse("the ticket is not of a version known here: send it as it was issued")
	}
	// The signature is compared as text: decoding would let several texts pass.
	body, signed := text[:dot], false
	for _, secret := range t.secrets {
		signed = hmac.Equal([]byte(signature(secret, body)), []byte(text[dot+1:])) || signed
	}
	if !signed {
		return ticket{}, refuse("the signature of the ticket does not fit: send it as it was issued, to the server it is for")
	}
	raw, err := base64.RawURLEncoding.DecodeString(body[len(ticketVersion):])
	if err != nil {
		return ticket{}, refuse("the ticket holds no permission: get a new one")
	}
	found, err := decodeTicket(raw)
	if err != nil {
		return ticket{}, refuse(err.Error() + ": get a new one")
	}
	return found, nil
}
