// Package gateway offers tasks over HTTP: to browsers, to other languages, to
// curl.
//
//	POST /tasks/{name}          call a task: 202, Location, {"id": …}
//	GET  /tasks/{id}            its state; ?wait=30s waits for the end
//	GET  /tasks/{id}/events     its stream as server-sent events
//	POST /tasks/{id}/revoke     stop it: 202
//	GET  /tasks/{id}/ws         the same over WebSocket
//	POST /groups/{group}        send an event to a group: 202
//	GET  /groups/{group}        who is present
//	GET  /groups/{group}/events what is sent to it, as server-sent events
//	GET  /groups/{group}/ws     the same over WebSocket, both ways
//	POST /tickets               a permission for one thing, for a URL
//	POST /users/{user}/kick     end a user's connections
//	GET  /events?task=&group=   several of both, as one event stream
//	GET  /rhubarb.js            the client for browsers, of package browser
//	GET  /openapi.json          all of this, with a schema per task
//	GET  /healthz, /readyz      alive; able to work
//	GET  /metrics               Prometheus
//
// A [Gateway] is an http.Handler that an application mounts beside its own
// routes, or that the subcommand serve runs alone.
//
// # Calling
//
// The body of a call is
//
//	{"args": [1], "kwargs": {"to": "a@example.org"}, "options": {"countdown": 10}}
//
// where each part may be missing and nothing else may be there. Options are
// Celery's: countdown, eta, expires, queue, priority, headers, task_id,
// ignore_result, soft_time_limit, time_limit; times are seconds, or RFC 3339
// for a moment. When the gateway knows the task, its arguments are checked
// before anything is sent, and the answer names every field that is wrong.
//
// The header Idempotency-Key makes calls with one key one task, for 24 hours.
// A later call with the key is answered like the first, 202 with the first
// call's id, and with the header Idempotency-Replayed: true. The key alone
// decides, whatever task and arguments come with it, and it is the same key
// that Go callers set with rhubarb.IdempotencyKey.
//
// # Errors
//
// Every error is application/problem+json (RFC 9457): title, status, detail,
// and for a call that was refused "errors", a list of field and problem.
//
// # Who may call
//
// With [Options].Token set, every route but the two health checks needs it as
// a bearer token; an EventSource and a WebSocket, which cannot send headers, may
// give it to /events and /ws as the query parameter access_token. With
// [Options].Auth set there are users, each of whom may do what their grant says,
// asked anew at each request; package auth has the kinds. Requests that change something
// are refused when a browser says that they come from another site, and no
// other site may read answers, unless it is among [Options].Origins.
//
// # Reading the source
//
// [New] and the routes in gateway.go, who may pass in guard.go, how a call is
// read in request.go and checked in check.go, the handlers in tasks.go,
// events.go, groups.go, listen.go, many.go and socket.go, who may do what in access.go,
// and the document in openapi.go.
package gateway
