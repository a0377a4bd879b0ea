package celery_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
)

// ordinary is what is heard of a task that goes well.
const ordinary = "sent received started succeeded"

// echoes sends a value there and back.
func echoes(name string, v any) scenario {
	return scenario{name: name, send: func(*run) *call { return one("echo", v) }, want: succeeded(v), events: ordinary}
}

// object is what has members, as Python's dict.
type object = map[string]any

var newYear = time.Date(2027, 1, 1, 0, 0, 0, 250_000_000, time.FixedZone("", 3600))

// typed are values of kombu's types. Celery 5.2 sends them as mere text.
var typed = object{
	"when":  rhubarb.DateTime{Time: newYear},
	"local": rhubarb.DateTime{Time: time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC), Naive: true},
	"day":   rhubarb.Date{Year: 2024, Month: time.February, Day: 29},
	"clock": rhubarb.TimeOfDay(13*time.Hour + 37*time.Minute + 123456*time.Microsecond),
	"price": rhubarb.Decimal("12345678901234567890.10"),
	"id":    rhubarb.UUID{0xde, 0xad, 0xbe, 0xef, 4: 1, 15: 2},
	"blob":  rhubarb.Bytes{0, 1, 0xfe, 0xff},
}

var values = []scenario{
	{
		name: "positional arguments", send: func(*run) *call { return one("add", 2, 3) },
		want: succeeded(5), events: ordinary,
	},
	{
		name: "keyword arguments",
		send: func(*run) *call { return &call{Task: "interop.add", Kwargs: object{"x": 2, "y": 3}} },
		want: succeeded(5), events: ordinary,
	},
	{
		name: "both at once",
		send: func(*run) *call { return &call{Task: "interop.add", Args: []any{40}, Kwargs: object{"y": 2}} },
		want: succeeded(42), events: ordinary,
	},
	echoes("nothing", nil),
	echoes("text", "Zażółć gęślą jaźń, 漢字, 🥕, \"quotes\" \\ \x00 \u2028 and\ttabs"),
	echoes("text that is long", strings.Repeat("rhubarb ", 40_000)),
	echoes("a whole number beyond 64 bits", json.Number("1180591620717411303424")),
	echoes("a negative number", -1<<63),
	echoes("a float", 0.1),
	echoes("a float that is whole", 1e16),
	echoes("what is no number", []any{math.NaN(), math.Inf(1), math.Inf(-1)}),
	echoes("a deep value", object{"a": []any{object{"b": []any{1, "two", 3.5, nil, true, object{}}}, []any{}}}),
	{
		name: "times, decimals, ids and bytes",
		send: func(*run) *call { return &call{Task: "interop.types", Kwargs: typed} },
		want: succeeded(typed), events: ordinary,
		notFrom: map[kind]string{oldest: "kombu 5.2 sends these as text"},
		notAt:   map[kind]string{oldest: "kombu 5.2 reads these as objects"},
	},
}

func TestValues(t *testing.T) { check(t, values) }
