package cli

import (
	"crypto/tls"
	"os"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

// edgeFlags say who may use the gateway, and by what name it is known.
type edgeFlags struct {
	JWTSecret    string        `name:"jwt-secret" env:"RHUBARB_JWT_SECRET" placeholder:"TEXT" help:"Let in who has a JSON Web Token signed with this secret, of 32 bytes or more."`
	JWTKey       string        `name:"jwt-key" type:"path" placeholder:"FILE" help:"Let in who has a token signed for this public key, in PEM."`
	JWKS         string        `name:"jwks" placeholder:"URL" help:"Let in who has a token signed with one of the keys at this address."`
	JWTIssuer    string        `name:"jwt-issuer" placeholder:"TEXT" help:"The issuer that tokens must name."`
	JWTAudience  string        `name:"jwt-audience" placeholder:"TEXT" help:"The audience that tokens must name."`
	JWTCookie    string        `name:"jwt-cookie" placeholder:"NAME" help:"A cookie that may hold the token."`
	ForwardAuth  string        `name:"forward-auth" placeholder:"URL" help:"Ask this address about each request, with its cookies, as auth_request of nginx does."`
	ForwardCache time.Duration `name:"forward-cache" default:"0s" placeholder:"TIME" help:"How long its answer counts for the same cookies (${default})."`
	TicketSecret string        `name:"ticket-secret" env:"RHUBARB_TICKET_SECRET" placeholder:"TEXT" help:"Issue tickets for an EventSource or a WebSocket, signed with this secret of 32 bytes or more."`
	Anonymous    []string      `name:"anonymous" placeholder:"NAME" help:"A group, or a pattern, that everyone may read, also without a token. May be repeated."`
	MaxConns     int           `name:"max-connections" default:"0" placeholder:"N" help:"How many event streams, and how many WebSockets, may be open in all (0: any number)."`
	MaxPerUser   int           `name:"max-per-user" default:"0" placeholder:"N" help:"How many event streams and WebSockets a user may have open (0: any number)."`

	TLSCert string `name:"tls-cert" type:"path" placeholder:"FILE" help:"Serve HTTPS, HTTP/2 included, with this certificate, in PEM."`
	TLSKey  string `name:"tls-key" type:"path" placeholder:"FILE" help:"The certificate's private key, in PEM."`
}

// guard sets who may do what.
func (e *edgeFlags) guard(opts *gateway.Options) error {
	var all []auth.Authenticator
	if e.TicketSecret != "" {
		tickets, err := auth.NewTickets([]byte(e.TicketSecret))
		if err != nil {
			return badInput("--ticket-secret: %w", err)
		}
		opts.Tickets = tickets
		all = append(all, tickets)
	}
	tokens, err := e.tokens()
	if err != nil {
		return err
	}
	if tokens != nil {
		all = append(all, tokens)
	}
	if e.ForwardAuth != "" {
		forward, err := auth.NewForward(auth.ForwardOptions{URL: e.ForwardAuth, CacheFor: e.ForwardCache})
		if err != nil {
			return badInput("--forward-auth: %w", err)
		}
		all = append(all, forward)
	}
	if opts.Tickets != nil && len(all) == 1 {
		return badInput("--ticket-secret lets in only who has a ticket, and nobody can ask for one: add --jwt-secret, --jwt-key, --jwks or --forward-auth")
	}
	if len(e.Anonymous) > 0 {
		all = append(all, auth.Anonymous(auth.Grant{ReadGroups: e.Anonymous}))
	}
	if len(all) > 0 {
		opts.Auth = auth.Any(all...)
	}
	switch {
	case e.MaxConns < 0:
		return badInput("--max-connections %d is negative", e.MaxConns)
	case e.MaxPerUser < 0:
		return badInput("--max-per-user %d is negative", e.MaxPerUser)
	case e.MaxPerUser > 0 && opts.Auth == nil:
		return badInput("--max-per-user needs to know users: add --jwt-secret, --jwt-key, --jwks or --forward-auth, or use --max-connections")
	}
	opts.MaxConnections = e.MaxConns
	if opts.Auth != nil {
		opts.Connections = auth.NewLimiter(e.MaxPerUser)
	}
	return nil
}

// tokens is nil if there is no key for them.
func (e *edgeFlags) tokens() (auth.Authenticator, error) {
	opts := auth.JWTOptions{KeySetURL: e.JWKS, Issuer: e.JWTIssuer, Audience: e.JWTAudience, Cookie: e.JWTCookie}
	var from []string
	if e.JWKS != "" {
		from = append(from, "--jwks")
	}
	if e.JWTSecret != "" {
		from, opts.Secret = append(from, "--jwt-secret"), []byte(e.JWTSecret)
	}
	if e.JWTKey != "" {
		raw, err := os.ReadFile(e.JWTKey)
		if err != nil {
			return nil, badInput("--jwt-key: %w", err)
		}
		from, opts.PublicKey = append(from, "--jwt-key"), raw
	}
	switch {
	case len(from) > 1:
		return nil, badInput("%s are given: tokens have one kind of key", strings.Join(from, " and "))
	case len(from) == 0 && e.JWTIssuer+e.JWTAudience+e.JWTCookie != "":
		return nil, badInput("--jwt-issuer, --jwt-audience and --jwt-cookie need a key: add --jwt-secret, --jwt-key or --jwks")
	case len(from) == 0:
		return nil, nil
	}
	tokens, err := auth.NewJWT(opts)
	if err != nil {
		return nil, badInput("%s: %w", from[0], err)
	}
	return tokens, nil
}

// tlsConfig is nil without a certificate.
func (e *edgeFlags) tlsConfig() (*tls.Config, error) {
	if e.TLSCert == "" && e.TLSKey == "" {
		return nil, nil
	}
	if e.TLSCert == "" || e.TLSKey == "" {
		return nil, badInput("--tls-cert and --tls-key belong together: one is missing")
	}
	pair, err := tls.LoadX509KeyPair(e.TLSCert, e.TLSKey)
	if err != nil {
		return nil, badInput("--tls-cert %s: %w", e.TLSCert, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// scheme of the address that is served.
func (e *edgeFlags) scheme() string {
	if e.TLSCert != "" {
		return "https"
	}
	return "http"
}

// keepFor says for how long a group keeps what clients send to it.
func keepFor(age time.Duration) (func(string) time.Duration, error) {
	switch {
	case age < 0:
		return nil, badInput("--keep %v is negative", age)
	case age == 0:
		return nil, nil
	case age < time.Second:
		return nil, badInput("--keep %v is less than a second", age)
	}
	return func(string) time.Duration { return age }, nil
}
