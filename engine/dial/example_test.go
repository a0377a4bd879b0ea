package dial_test

import (
	"context"
	"fmt"

	"github.com/rhubarb-go/rhubarb/engine/dial"
)

// A URL chooses the engine, as RHUBARB_URL does for the subcommands.
func ExampleDial() {
	ctx := context.Background()
	engines, closeEngines, err := dial.Dial(ctx, "mem:", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeEngines()
	queues, err := engines.Broker.Queues(ctx)
	fmt.Println(len(queues), err)

	_, _, err = dial.Dial(ctx, "kafka://localhost", nil)
	fmt.Println(err)
	// Output:
	// 0 <nil>
	// dial: no engine for kafka: — there are file:, mem:, nats:// and redis://
}
