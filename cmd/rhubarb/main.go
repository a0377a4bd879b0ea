// Command rhubarb serves, calls and looks after background tasks, and shows
// what they can do. A program with tasks of its own has the same subcommands
// through package cli.
package main

import (
	"github.com/rhubarb-go/rhubarb/cli"
	"github.com/rhubarb-go/rhubarb/cmd/rhubarb/internal/demo"
)

func main() {
	cli.Program{Name: "rhubarb", Commands: []cli.Command{demo.Command()}}.Main()
}
