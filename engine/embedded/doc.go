// Package embedded is the default engine: a NATS server inside this process,
// with its files in one directory, and natsengine on it.
//
// The first process that opens the directory holds a lock on it and runs the
// server; others on the same machine join it over the loopback interface, with
// a secret from a file that only the owner can read. When the holder dies,
// another takes the lock over and serves the same files; all others find it
// again by themselves.
//
// An accepted write survives kill -9 of any process at once, and is synced to
// the disk within a second: a power cut may take that last second, unless
// [Options.SyncAlways] is set.
//
// # Reading the source
//
// [Open] in embedded.go, the lock and the file that tells where the server is
// in lock.go, the server itself in server.go.
package embedded
