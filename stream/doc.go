// Package stream reads and writes resumable logs.
//
// A stream is written by one writer at a time and read by any number of
// readers, each from where it left off:
//
//	for rec, err := range stream.Open(engines.Streams, id).Tail(ctx, position) {
//		…
//	}
//
// A task's own stream bears the task's id and is written with rhubarb.Emit and
// rhubarb.Progress; [Begin] is for logs that belong to no task.
//
// A reader never meets silence: records that are gone are announced by one
// record of kind gap, a position of another stream likewise, and a new attempt
// by its reset. After the end record there is nothing more.
//
// # Reading the source
//
// [Stream.Tail] in stream.go, [Reader] for what a position is worth, the look
// for gaps in gap.go, [Merger] for readers that are slow, and [Writer] in
// writer.go.
package stream
