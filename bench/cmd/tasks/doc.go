// Tasks measures rhubarb's engines beside asynq on a private Redis, on one
// machine and in one run.
//
//	go run ./cmd/tasks -rounds 5 -cases burn-down
//
// Every measurement is a process of its own that starts from an empty store,
// so that no side inherits the other's heap or files. The sides take turns
// within a round and change order from round to round. What is printed is the
// median over the rounds with the least and the most, and how many times better
// than the first side each other one is, round by round. On a machine that does other things as well, look
// at the ratios and their spread, not at the numbers.
//
// # Reading the source
//
// side.go says what a side can do, asynq.go rhubarb.go, embedded.go and engine.go do it; cases.go
// holds what is measured; main.go runs the rounds and report.go prints them.
package main
