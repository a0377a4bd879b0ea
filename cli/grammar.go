package cli

// grammar is the command line as kong reads it.
type grammar struct {
	globals
}
