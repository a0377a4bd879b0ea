package cli_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/cli"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
)

// SendEmail is a task of the examples.
var SendEmail = rhubarb.Define("mail.send_email", sendEmail)

// Email is its input.
type Email struct {
	To      string `json:"to"`
	Subject string `json:"subject,omitempty"`
}

func sendEmail(_ context.Context, e Email) (string, error) { return "sent to " + e.To, nil }

// This is the whole main function of a program of tasks: it has the
// subcommands worker, serve, call, tail and so on.
func ExampleMain() {
	cli.Main(SendEmail)
}

// A program may bring an engine of its own, and run subcommands without
// leaving the process.
func ExampleProgram_Run() {
	e := memengine.New()
	defer e.Close()
	p := cli.Program{
		Name:  "mailer",
		Tasks: []rhubarb.Runnable{SendEmail},
		Open: func(context.Context, string, string, *slog.Logger) (engine.Set, io.Closer, error) {
			return engine.All(e), io.NopCloser(nil), nil
		},
	}
	ctx := context.Background()
	fmt.Println(p.Run(ctx, []string{"call", "mail.send_email", "to=a@example.org", "--id=first"}, os.Stdout, os.Stdout))
	fmt.Println(p.Run(ctx, []string{"result", "first"}, os.Stdout, os.Stdout))
	fmt.Println(p.Run(ctx, []string{"call", "mail.send_email", "subject=Hello"}, os.Stdout, os.Stdout))

	// Output:
	// first
	// 0
	// id      first
	// status  PENDING
	// 0
	// mailer: call mail.send_email: kwargs.to is required but missing
	// 2
}
