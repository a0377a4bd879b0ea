// Package control is Celery's remote control: one who asks or tells, and the
// workers that answer, in Go and in Python alike.
//
//	c, err := control.New(broker, nil)
//	up, err := c.Ping(ctx)                 // map[celery@host:pong]
//	running, err := c.Active(ctx)          // what every worker is doing
//	err = c.Cast(ctx, control.Revoke(id))  // nobody is waited for
//	r, err := c.Call(ctx, control.RateLimit("mail.send", "10/m"))
//
// A request is a broadcast. Those who should answer do so into a mailbox that
// the caller opened, within the second that it waits. There is no list of
// workers: whoever is silent is not there.
//
// A worker has a [Server], which reads requests, finds out whether its node is
// meant, and answers as a Python worker would: same fields, same texts, errors
// as Python's repr shows them. Package worker is the [Node] behind it and mounts
// it by itself. Servers that start ask the others for their logical clocks and
// for the ids that were revoked (Celery's mingle).
//
// Whoever can publish on the broker can control the workers, as in Celery. A
// server bounds what a request costs, writes replies to mailboxes only, and
// masks what is secret in settings.
//
// # Reading the source
//
// wire.go has the bytes; [Client.Each] in client.go is one call; [Server.Run] in
// server.go the other side; panel.go the commands; node.go what a worker must
// tell and do.
package control
