package cli

import (
	"testing"

	"github.com/rhubarb-go/rhubarb"
)

func TestRouteFlag(t *testing.T) {
	for text, want := range map[string]rhubarb.Route{
		"mail.*=mail":   {Task: "mail.*", Queue: "mail"},
		"mail.*=mail:3": {Task: "mail.*", Queue: "mail", Priority: 3},
		"a=redis:q":     {Task: "a", Queue: "redis:q"},
		"a=q:12":        {Task: "a", Queue: "q:12"},
		"a=b=c":         {Task: "a", Queue: "b=c"},
	} {
		var r route
		if err := r.UnmarshalText([]byte(text)); err != nil || rhubarb.Route(r) != want {
			t.Errorf("%s is %+v, %v; want %+v", text, r, err, want)
		}
	}
	for _, text := range []string{"", "mail", "=mail", "mail="} {
		if err := new(route).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
