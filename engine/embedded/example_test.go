package embedded_test

import (
	"context"
	"fmt"
	"os"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
)

// Several processes may open one directory: the first serves it, the others
// join, and one of them takes over when it dies.
func Example() {
	dir, err := os.MkdirTemp("", "rhubarb")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	e, err := embedded.Open(context.Background(), dir, &embedded.Options{SyncAlways: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	app, err := rhubarb.New(engine.All(e), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := app.Result("unknown").State(context.Background())
	fmt.Println(e.Holds(), state.Status, err)
	// Output: true PENDING <nil>
}
