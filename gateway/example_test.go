package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/gateway"
)

// A gateway is mounted beside an application's own routes. It knows the tasks
// it is given and checks calls of them.
func ExampleNew() {
	e := memengine.New() // a program would open the engine of its choice
	defer e.Close()
	app, err := rhubarb.New(engine.All(e), nil)
	if err != nil {
		log.Fatal(err)
	}
	g, err := gateway.New(app, &gateway.Options{Tasks: []rhubarb.Runnable{add}, Prefix: "/api"})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", g)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer g.Drain(context.Background(), time.Second) // before the server waits for its requests

	for _, body := range []string{
		`{"kwargs": {"a": 1, "b": 2}, "options": {"task_id": "first"}}`,
		`{"kwargs": {"a": "one"}}`,
	} {
		res, err := http.Post(srv.URL+"/api/tasks/math.add", "application/json", strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			log.Fatal(err)
		}
		res.Body.Close()
		fmt.Print(res.StatusCode, " ", string(answer))
	}

	// Output:
	// 202 {"id":"first"}
	// 422 {"title":"Unprocessable Entity","status":422,"detail":"kwargs.a must be an integer, got a string","errors":[{"field":"kwargs.a","problem":"must be an integer, got a string"}]}
}
