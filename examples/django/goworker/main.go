// Goworker runs the site's task send_email in place of a Python worker, or
// beside one. It is mail/tasks.py in Go.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/cli"
)

// Email has the arguments of send_email(to, subject="Hello").
type Email struct {
	To      string `json:"to"`
	Subject string `json:"subject,omitempty"`
}

var sendEmail = rhubarb.Define("mail.tasks.send_email", send,
	rhubarb.WithRetry(rhubarb.RetryPolicy{Max: 3, Backoff: time.Second, If: isFile}))

// isFile is for autoretry_for=(OSError,).
func isFile(err error) bool {
	var failed *fs.PathError
	return errors.As(err, &failed)
}

func send(ctx context.Context, e Email) (string, error) {
	to, err := mail.ParseAddress(e.To)
	if err != nil {
		return "", fmt.Errorf("send to %q: %w", e.To, err)
	}
	select {
	case <-time.After(pause()): // the slow part
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if err := deliver(ctx, to, cmp.Or(e.Subject, "Hello")); err != nil {
		return "", err
	}
	return fmt.Sprintf("sent to %s by Go", to.Address), nil
}

// deliver writes the email as a file, as Django's file backend does.
func deliver(ctx context.Context, to *mail.Address, subject string) error {
	name := filepath.Join(cmp.Or(os.Getenv("MAIL_DIR"), "."), rhubarb.Current(ctx).ID+".log")
	return os.WriteFile(name, fmt.Appendf(nil, "Subject: %s\nFrom: site@example.org\nTo: %s\nDate: %s\n\nSent by Go.\n",
		mime.QEncoding.Encode("utf-8", subject), to, time.Now().Format(time.RFC1123Z)), 0o600)
}

// pause is MAIL_SECONDS, one second without it.
func pause() time.Duration {
	seconds, err := strconv.ParseFloat(os.Getenv("MAIL_SECONDS"), 64)
	if err != nil {
		return time.Second
	}
	return time.Duration(seconds * float64(time.Second))
}

func main() { cli.Main(sendEmail) }
