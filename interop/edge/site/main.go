// Site is a program of one task, as a user writes it, for the tests beside it.
package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/cli"
)

// Count says how far to count, and who lets each number pass.
type Count struct {
	To   int    `json:"to"`
	Gate string `json:"gate"` // an address that answers ?n=1 when 1 may be said
}

var count = rhubarb.Define("edge.count", func(ctx context.Context, c Count) (int, error) {
	for n := 1; n <= c.To; n++ {
		if err := pass(ctx, c.Gate, n); err != nil {
			return 0, err
		}
		if err := rhubarb.Emit(ctx, n); err != nil {
			return 0, err
		}
	}
	return c.To, nil
})

func pass(ctx context.Context, gate string, n int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s?n=%d", gate, n), http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func main() { cli.Main(count) }
