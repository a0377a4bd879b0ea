package control

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

// capture is a recorded call of remote control.
type capture struct {
	request engine.Message
	body    body            // of the request
	replies json.RawMessage // {node: value}; nil if there was none
}

// envelope is a message as kombu puts it on Redis.
type envelope struct {
	Body            []byte          `json:"body"` // base64
	ContentType     string          `json:"content-type"`
	ContentEncoding string          `json:"content-encoding"`
	Headers         json.RawMessage `json:"headers"`
}

func load(t testing.TB, name string) capture {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Messages []struct {
			Raw string `json:"raw"`
		} `json:"messages"`
		Reply    json.RawMessage `json:"reply_seen_by_client"`
		Commands []struct {
			Argv    []string        `json:"argv"`
			Decoded json.RawMessage `json:"decoded_body"`
		} `json:"commands"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var c capture
	var sent string
	if len(file.Messages) > 0 {
		sent, c.replies = file.Messages[0].Raw, file.Reply
	}
	for _, cmd := range file.Commands {
		switch {
		case cmd.Argv[0] == "PUBLISH" && sent == "":
			sent = cmd.Argv[2]
		case cmd.Argv[0] == "LPUSH" && c.replies == nil:
			c.replies = cmd.Decoded
		}
	}
	var list []json.RawMessage
	if json.Unmarshal(c.replies, &list) == nil && len(list) > 0 {
		c.replies = list[0]
	}
	var e envelope
	if err := json.Unmarshal([]byte(sent), &e); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	c.request = engine.Message{ContentType: e.ContentType, ContentEncoding: e.ContentEncoding, Headers: e.Headers, Body: e.Body}
	if err := json.Unmarshal(e.Body, &c.body); err != nil {
		t.Fatal(err)
	}
	return c
}

// captures names every recording.
func captures(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = filepath.Base(f[:len(f)-len(".json")])
	}
	return names
}
