package demo

import (
	"context"
	_ "embed" // the story
	"fmt"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb"
)

// Queues of the demo's own, so that it leaves the tasks of others alone who
// share its engine.
const (
	queue     = "demo"
	bulkQueue = "demo.bulk"
)

var (
	sendEmail = rhubarb.Define("demo.send_email", email, rhubarb.OnQueue(queue))

	writeStory = rhubarb.Define("demo.write_story", story, rhubarb.OnQueue(queue))

	// The first wait is two seconds and the second one four.
	callFlaky = rhubarb.Define("demo.call_flaky", flaky, rhubarb.OnQueue(queue),
		rhubarb.WithRetry(rhubarb.RetryPolicy{Max: 3, Backoff: 2 * time.Second, NoJitter: true}))

	resizePhoto = rhubarb.Define("demo.resize_photo", resize, rhubarb.OnQueue(bulkQueue), rhubarb.IgnoreResult(),
		rhubarb.KeepResult(time.Minute))
)

var tasks = []rhubarb.Runnable{sendEmail, writeStory, callFlaky, resizePhoto}

type message struct {
	To      string `json:"to"`
	Subject string `json:"subject,omitempty"`
}

const emailSteps = 10

// email sends nothing anywhere, slowly.
func email(ctx context.Context, m message) (string, error) {
	for i := range emailSteps {
		if err := pause(ctx, 400*time.Millisecond); err != nil {
			return "", err
		}
		rhubarb.Progress(ctx, i+1, emailSteps)
	}
	return "sent to " + m.To, nil
}

//go:embed page/story.txt
var text string

// story says the text word by word, as a language model would.
func story(ctx context.Context, _ rhubarb.None) (int, error) {
	words := strings.SplitAfter(text, " ")
	for _, word := range words {
		if err := pause(ctx, time.Second/12); err != nil {
			return 0, err
		}
		if err := rhubarb.Emit(ctx, word); err != nil {
			return 0, err
		}
	}
	return len(words), nil
}

// flaky fails twice.
func flaky(ctx context.Context, _ rhubarb.None) (string, error) {
	if err := pause(ctx, 600*time.Millisecond); err != nil {
		return "", err
	}
	if n := rhubarb.Current(ctx).Attempt; n < 3 {
		return "", fmt.Errorf("the other side hung up (attempt %d)", n)
	}
	return "third time lucky", nil
}

// resize is work of which there is a lot.
func resize(ctx context.Context, _ rhubarb.None) (rhubarb.None, error) {
	return rhubarb.None{}, pause(ctx, 50*time.Millisecond)
}

// pause waits, and less when the task should stop.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
