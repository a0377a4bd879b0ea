// Package interop has what tests of our real program against other people's
// programs have in common: to find those, and to run both as processes.
//
// Each part is a package below this one, with its own fixtures: interop/edge
// has the clients and the proxies of the HTTP edge, interop/celery has Celery
// and Flower.
//
// A test that needs a program which is not installed skips, and fails instead
// with RHUBARB_REQUIRE_SERVERS=1. Programs listen on free ports, write to
// temporary folders, and end with their test.
//
// # Reading the source
//
// process.go, then the doc.go of a part.
package interop
