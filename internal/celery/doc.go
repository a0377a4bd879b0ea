// Package celery turns Celery's messages and results into Go values and back.
// It is pure: no I/O, no goroutines, no state but a table of types.
//
// [Task] is a task message: [Decode] reads protocol 2 and 1 and leaves the
// body for [Task.DecodeBody], [Task.Message] writes protocol 2. [Result] is
// the record of a state, [Exception] the failure inside one, [Signature] a
// task that travels inside a message. [AppendEnvelope] and [ParseEnvelope]
// put a message into the one text that kombu keeps on Redis.
//
// # Values
//
// Arguments and results are [encoding/json.RawMessage]. [Marshal] makes them
// as Python should see them, with kombu's types for times and bytes;
// [Unmarshal] reads them into Go values, and [Plain] into JSON that
// encoding/json reads as usual. Python writes NaN and the infinities bare,
// which is not JSON: raw values that were decoded hold a mark in their place,
// so that encoding/json accepts them, and whatever is written here for Python
// has them bare again. [Bare] does that for a raw value that leaves by another
// way.
//
// What comes in is a peer's: its size after decompression, its depth and the
// number of its parts are bounded, and errors name the header or field.
//
// The authority is the public source of celery and kombu; lines that obey a
// rule of theirs name the file. Golden vectors recorded from the real thing are
// in testdata.
//
// # Reading the source
//
// task.go and decode.go for what comes in, encode.go for what goes out,
// check.go and scan.go for how text is read, result.go for states, values.go
// for kombu's special JSON types.
package celery
