// Package auth decides who may do what over HTTP: it turns a request into a
// [Grant], which says who asks, what that user may do and until when.
//
// # What a grant says
//
// Permissions are patterns per [Action]: a user with CallTasks "mail.*" may
// call mail.send. A star stands for any text, dots and slashes included; a
// backslash takes the meaning off the character after it. The zero Grant
// allows nothing, and so does one that expired.
//
// # Where a grant comes from
//
// An [Authenticator] looks for credentials of one kind:
//
//   - [NewJWT] checks signed tokens, with a shared secret, with a public key or
//     with the keys an identity provider publishes;
//   - [NewForward] asks an HTTP endpoint of the application, as the directive
//     auth_request of nginx does, so that its sessions count here too;
//   - [NewTickets] checks tickets: short-lived permissions for one action on
//     one name, to be put into the URL of a WebSocket or an EventSource, which
//     cannot send headers;
//   - [Anonymous] grants to whoever is left.
//
// [Any] tries several in order. The first that finds credentials of its kind
// decides, so a bad token is refused even where visitors without one are
// welcome. Refusals are an [*Error] with a status and a reason that a client
// may read: it never contains the credentials.
//
// # The claim
//
// A token carries its permissions in the private claim "rhubarb", and an
// endpoint that [Forward] asks puts the same JSON into X-Rhubarb-Grant:
//
//	{
//	  "groups":  {"read": ["chat.*"], "write": ["chat.lobby"]},
//	  "streams": {"read": ["*"]},
//	  "tasks":   {"call": ["mail.*"], "revoke": []}
//	}
//
// Each part may be missing and then allows nothing; no other part may be there.
// [Grant.Claim] writes it.
//
// # Connections
//
// A [Limiter] counts the connections of each user and ends them on demand.
//
// # Reading the source
//
// [Grant] and its patterns in grant.go, [Any] and [Error] in auth.go, what a
// token must pass in jwt.go with its keys in keys.go and jwks.go, the question
// and the answer of [Forward] in forward.go and answer.go, and the bytes of a
// ticket in ticket.go.
package auth
