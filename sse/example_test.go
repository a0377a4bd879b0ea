package sse_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/sse"
	"github.com/rhubarb-go/rhubarb/stream"
)

// A clock for every browser that comes: new EventSource("/sse/").
func ExampleUpgrade() {
	mux := http.NewServeMux()
	mux.HandleFunc("/sse/", func(w http.ResponseWriter, r *http.Request) {
		c, err := sse.Upgrade(w, r, nil)
		if err != nil {
			return // it was answered
		}
		defer c.Close()
		for now := range time.Tick(10 * time.Millisecond) {
			if c.Send(sse.Event{Data: now.UTC().Format("2006")}) != nil {
				return // the browser left
			}
		}
	})

	srv := httptest.NewServer(mux)
	defer srv.Close()
	res, err := http.Get(srv.URL + "/sse/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	fmt.Println(res.Header.Get("Content-Type"))
	for e, err := range sse.NewReader(res.Body, nil).All() {
		fmt.Println(len(e.Data), "digits", err)
		break
	}
	// Output:
	// text/event-stream
	// 4 digits <nil>
}

// A stream that a browser goes on with where it was, after a reconnection or a
// reload.
func ExampleServeStream() {
	ctx := context.Background()
	eng := memengine.New()
	defer eng.Close()
	w, err := stream.Begin(ctx, eng, "words", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	w.Append(ctx, []byte("one"), []byte("two"), []byte("three"))
	w.End(ctx, []byte(`"done"`))

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sse.ServeStream(w, r, stream.Open(eng, "words"), nil)
	}))
	defer srv.Close()

	read := func(after string) (place string) {
		req, err := http.NewRequest("GET", srv.URL, nil)
		if err != nil {
			fmt.Println(err)
			return ""
		}
		req.Header.Set("Last-Event-ID", after) // browsers do it by themselves
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println(err)
			return ""
		}
		defer res.Body.Close()
		fmt.Println("status", res.StatusCode)
		for e := range sse.NewReader(res.Body, nil).All() {
			fmt.Println(e.Type, e.Data)
			if place = e.ID; e.Data == "two" && after == "" {
				break // the train enters the tunnel
			}
		}
		return place
	}
	place := read("")
	place = read(place)
	read(place)
	// Output:
	// status 200
	// reset {"attempt":1}
	//  one
	//  two
	// status 200
	//  three
	// end "done"
	// status 204
}

// The events of any server.
func ExampleReader() {
	body := strings.NewReader("retry: 3000\n\n: hello\nid: 7\nevent: price\ndata: 10\ndata: 11\n\ndata: cut")
	r := sse.NewReader(body, nil)
	for e, err := range r.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%+q %q %q\n", e.ID, e.Type, e.Data)
	}
	fmt.Println(r.LastEventID(), r.Retry())
	// Output:
	// "7" "price" "10\n11"
	// 7 3s
}

// A client that survives lost connections and ends when the server says 204.
func ExampleSubscribe() {
	next := 1
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sse.LastEventID(r) == "3" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		c, err := sse.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close() // after every event: a bad line
		c.Send(sse.Event{ID: fmt.Sprint(next), Data: "event " + fmt.Sprint(next), Retry: time.Millisecond})
		next++
	}))
	defer srv.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequest("GET", srv.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range sse.Subscribe(ctx, req, nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.ID, e.Data)
	}
	// Output:
	// 1 event 1
	// 2 event 2
	// 3 event 3
}

// What goes to many is made once and pushed to each connection, which has no
// handler any more.
func ExampleConn_Push() {
	edge := &sse.Server{Max: 10_000}
	conns := make(chan *sse.Conn, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := sse.Upgrade(w, r, &sse.Options{Server: edge})
		if err != nil {
			return
		}
		conns <- c
		c.Stay(nil) // a program would forget the connection in the function
	}))
	defer srv.Close()
	defer edge.Close(context.Background(), 0)

	news, err := sse.NewFrame(sse.Event{ID: "1", Data: "hello"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		res, err := http.Get(srv.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer res.Body.Close()
		fmt.Println((<-conns).Push(news))
		e, err := sse.NewReader(res.Body, nil).Next()
		fmt.Println(e.ID, e.Data, err)
	}
	// Output:
	// <nil>
	// 1 hello <nil>
	// <nil>
	// 1 hello <nil>
}

// Connections are closed for a deploy over some seconds, each with a time to
// come back, before the http.Server is shut down.
func ExampleServer() {
	var edge sse.Server
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := sse.Upgrade(w, r, &sse.Options{Server: &edge})
		if err != nil {
			return
		}
		defer c.Close()
		<-c.Context().Done()
	})}

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	edge.Close(ctx, 10*time.Second)
	fmt.Println(edge.Len(), srv.Shutdown(ctx))
	// Output: 0 <nil>
}
