package event_test

import (
	"context"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/event"
)

// BenchmarkSend is what a task of a worker costs its caller: three events.
func BenchmarkSend(b *testing.B) {
	broker := memengine.New()
	defer broker.Close()
	s, err := event.NewSender(broker, &event.SenderOptions{Hostname: "mail@host", TaskEvents: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.ReportAllocs()
	for b.Loop() {
		s.Send(event.TaskReceived(event.Taken{ID: "a1", Name: "mail.send_email", Args: "()", Kwargs: "{'to': 'a@example.org'}"}))
		s.Send(event.TaskStarted("a1"))
		s.Send(event.TaskSucceeded("a1", "'sent'", 20*time.Millisecond))
	}
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
	n := s.Stats()
	b.ReportMetric(float64(n.Full)/float64(n.Full+n.Sent), "dropped/event")
}
