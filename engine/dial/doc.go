// Package dial turns a URL into engines. It is the only package that imports
// them all, and only programs import it.
//
// # Reading the source
//
// [Dial] in dial.go.
package dial
