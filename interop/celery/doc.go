// Package celery has tests of rhubarb beside real Celery and Flower on one
// Redis.
//
// Each scenario of the table is run from every client to every worker: Celery
// as it is now, Celery 5.2, whose messages are the oldest that rhubarb
// promises to understand, and rhubarb. The assertions are the same in each
// direction: on what the client gets, on the record that is stored, and on the
// events that a Celery client hears. From Celery to Celery they check the table
// itself.
//
// The Python side is in project: tasks.py has the tasks, client.py a client
// that does what it is told, and the requirements files pin the versions.
// peer is the same tasks in Go. scripts/setup installs the Python side.
//
// # Reading the source
//
// scenario_test.go for what is checked, then the tables: values_test.go,
// outcomes_test.go, options_test.go and follow_test.go. fleet_test.go for the
// processes, client_test.go and rhubarb_test.go for the clients; then
// inspect_test.go, flower_test.go and commands_test.go for those who look on.
package celery
