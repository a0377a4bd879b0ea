// Package celery turns Celery's messages and results into Go values and back.
// It is pure: no I/O, no goroutines, no state but a table of types.
//
// The authority is the public source of celery and kombu; lines that obey a
// rule of theirs name the file. Golden vectors recorded from the real thing are
// in testdata.
//
// # Reading the source
//
// task.go and decode.go for what comes in, encode.go for what goes out,
// result.go for states, values.go for kombu's special JSON types.
package celery
