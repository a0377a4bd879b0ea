package event

import (
	"encoding/json"

	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// Report is what a worker tells of itself with each heartbeat.
type Report struct {
	Active    int // tasks that run now
	Processed int // tasks begun since the worker started
}

// software says what runs. celery/worker/state.py SOFTWARE_INFO.
type software struct{ ident, version, system string }

func (f fields) software(s software) fields {
	return f.text("sw_ident", s.ident).text("sw_ver", s.version).text("sw_sys", s.system)
}

// alive makes worker-online, worker-heartbeat and worker-offline; freq is in
// seconds. celery/worker/heartbeat.py _send.
func alive(kind string, freq float64, r Report, load [3]float64, s software) Event {
	f := fields(nil).float("freq", freq).whole("active", r.Active).whole("processed", r.Processed)
	f = append(celery.AppendFloat(append(f.key("loadavg"), '['), load[0]), ',')
	f = append(celery.AppendFloat(f, load[1]), ',')
	f = append(celery.AppendFloat(f, load[2]), ']')
	return f.software(s).event(kind)
}

// askedFreq is what a heartbeat on command claims, without a fraction.
// celery/worker/control.py heartbeat.
const askedFreq = 5

func asked(s software) Event {
	return fields(nil).whole("freq", askedFreq).software(s).event("worker-heartbeat")
}

// WorkerElect stands for an election: the worker would do what action says,
// should it win. celery/worker/consumer/gossip.py election.
func WorkerElect(id, topic string, action json.RawMessage) (Event, error) {
	raw, err := celery.Check(orNull(action))
	if err != nil {
		return Event{}, err
	}
	return fields(nil).text("id", id).text("topic", topic).raw("action", raw).whole("cver", 1).event("worker-elect"), nil
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

// WorkerElectAck answers every worker-elect.
func WorkerElectAck(id string) Event { return fields(nil).text("id", id).event("worker-elect-ack") }
