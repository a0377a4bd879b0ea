package gateway

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// document answers with the OpenAPI document.
func (g *Gateway) document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(g.openAPI) // a client that left needs no answer
}

// describe writes the OpenAPI 3.1 document of the routes and known tasks.
// https://spec.openapis.org/oas/v3.1.0
func (g *Gateway) describe() ([]byte, error) {
	paths := object{
		"/tasks/{id}":        object{"get": stateOperation(), "parameters": []any{ref("parameters", "id")}},
		"/tasks/{id}/events": object{"get": eventsOperation(), "parameters": []any{ref("parameters", "id")}},
		"/tasks/{id}/ws":     object{"get": socketOperation("A task's stream."), "parameters": []any{ref("parameters", "id")}},
		"/tasks/{id}/revoke": object{"post": revokeOperation(), "parameters": []any{ref("parameters", "id")}},
		"/events":            object{"get": manyOperation()},
		"/openapi.json":      object{"get": plainOperation("This document.", "application/json")},
		"/rhubarb.js":        object{"get": plainOperation("The client for browsers, a JavaScript module.", "text/javascript")},
		"/metrics":           object{"get": plainOperation("Prometheus metrics.", "text/plain")},
		"/healthz":           object{"get": healthOperation("Whether the process answers.")},
		"/readyz":            object{"get": healthOperation("Whether a call would go through now.")},
	}
	if g.opts.Hub != nil {
		group := []any{ref("parameters", "group")}
		paths["/groups/{group}"] = object{"get": membersOperation(), "post": publishOperation(), "parameters": group}
		paths["/groups/{group}/events"] = object{"get": listenOperation(), "parameters": group}
		paths["/groups/{group}/ws"] = object{"get": socketOperation("A group's events, both ways."), "parameters": group}
	}
	if g.opts.Tickets != nil {
		paths["/tickets"] = object{"post": ticketOperation()}
	}
	if g.opts.Connections != nil {
		paths["/users/{user}/kick"] = object{"post": kickOperation(), "parameters": []any{
			parameter("path", "user", "The user's name.", object{"type": "string"})}}
	}
	if g.opts.Unknown == UnknownAllow {
		// OpenAPI knows one template per path: a call shares that of the id.
		paths["/tasks/{id}"].(object)["post"] = callOperation("Call any task; id is its name.", object{"$ref": "#/components/schemas/Call"})
	}
	for _, name := range slices.Sorted(maps.Keys(g.tasks)) {
		path := "/tasks/" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(url.PathEscape(name))
		paths[path] = object{"post": callOperation("Call "+name+".", callSchema(g.tasks[name]))}
	}
	doc := object{
		"openapi": "3.1.0",
		"info":    object{"title": "rhubarb tasks", "version": "1", "summary": "Call background tasks and follow them."},
		"servers": []any{object{"url": g.opts.Prefix + "/"}},
		"paths":   paths,
		"components": object{
			"schemas": schemas(),
			"parameters": object{
				"id":    parameter("path", "id", "The task's id.", object{"type": "string", "minLength": 1, "maxLength": engine.MaxID}),
				"group": parameter("path", "group", "The group's name.", object{"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,99}$"}),
			},
			"responses": object{"Problem": response("What is wrong.", "application/problem+json", object{"$ref": "#/components/schemas/Problem"})},
		},
	}
	if g.opts.Prefix != "" {
		doc["servers"] = []any{object{"url": g.opts.Prefix}}
	}
	if g.opts.Token != "" || g.opts.Auth != nil {
		doc["components"].(object)["securitySchemes"] = object{"token": object{"type": "http", "scheme": "bearer"}}
		doc["security"] = []any{object{"token": []string{}}}
		for _, path := range []string{"/healthz", "/readyz", "/rhubarb.js"} {
			paths[path].(object)["get"].(object)["security"] = []any{}
		}
	}
	return json.MarshalIndent(doc, "", " ")
}

func ref(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }

func response(description, contentType string, schema object) object {
	return object{"description": description, "content": object{contentType: object{"schema": schema}}}
}

func parameter(in, name, description string, schema object) object {
	return object{"in": in, "name": name, "description": description, "required": in == "path", "schema": schema}
}

func operation(summary, code string, ok object, more object) object {
	op := object{"summary": summary, "responses": object{code: ok, "default": ref("responses", "Problem")}}
	maps.Copy(op, more)
	return op
}

func plainOperation(summary, contentType string) object {
	return operation(summary, "200", response("It.", contentType, object{}), nil)
}

func healthOperation(summary string) object {
	op := plainOperation(summary, "application/json")
	op["responses"].(object)["503"] = response("It does not; problems say why.", "application/json", object{"type": "object"})
	return op
}

func callOperation(summary string, schema object) object {
	ok := response("It is in the engine's keeping.", "application/json", object{
		"type": "object", "properties": object{"id": object{"type": "string"}}, "required": []string{"id"},
	})
	ok["headers"] = object{
		"Location":             object{"description": "Where its state is.", "schema": object{"type": "string"}},
		"Idempotency-Replayed": object{"description": "There and true if an earlier call has the key.", "schema": object{"type": "string"}},
	}
	return operation(summary, "202", ok, object{
		"parameters": []any{parameter("header", "Idempotency-Key", "Calls with one key are one task, for 24 hours.",
			object{"type": "string", "minLength": 1, "maxLength": engine.MaxID})},
		"requestBody": object{"content": object{"application/json": object{"schema": schema}}},
	})
}

func stateOperation() object {
	return operation("A task's state. An unknown task is PENDING.", "200",
		response("Its state.", "application/json", ref("schemas", "State")), object{
			"parameters": []any{parameter("query", "wait", "Wait so long for the end, for example 30s.", object{"type": "string"})},
		})
}

func eventsOperation() object {
	return operation("Follow a task's stream as server-sent events.", "200",
		response("Events data, progress, state, reset, gap and end, each with an id.", "text/event-stream", object{"type": "string"}), object{
			"parameters": []any{parameter("header", "Last-Event-ID", "Go on after this event.", object{"type": "string", "maxLength": 128})},
		})
}

func revokeOperation() object {
	return operation("Stop a task, waiting or running. A finished one is left alone.", "202",
		response("It will stop.", "application/json", object{"type": "object", "properties": object{"id": object{"type": "string"}}}), nil)
}

func publishOperation() object {
	return operation("Send an event to all connections of a group.", "202",
		response("It is on its way.", "application/json", object{"type": "object"}), object{
			"requestBody": object{"content": object{"application/json": object{"schema": object{
				"type": "object", "required": []string{"type"},
				"properties": object{"type": object{"type": "string", "pattern": "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,98}$"}},
			}}}},
		})
}

func membersOperation() object {
	return operation("Who is present in a group.", "200", response("The members.", "application/json", object{"type": "object"}), nil)
}

func listenOperation() object {
	return operation("Follow a group as server-sent events: what it keeps since the given event, then what is new.", "200",
		response("Messages, each with an event as JSON.", "text/event-stream", object{"type": "string"}), object{
			"parameters": []any{
				parameter("header", "Last-Event-ID", "Go on after this event.", object{"type": "string", "maxLength": 128}),
				lastParameter(),
			},
		})
}

func manyOperation() object {
	several := object{"type": "array", "items": object{"type": "string"}}
	return operation("Follow several streams and groups as one event stream. An event's id says where the client is in all of them.", "200",
		response("Messages {\"task\" or \"group\", \"event\", \"data\"}; at last an event end, if only streams are followed.", "text/event-stream", object{"type": "string"}), object{
			"parameters": []any{
				parameter("query", "task", "A task's id. May be repeated.", several),
				parameter("query", "group", "A group. May be repeated.", several),
				parameter("header", "Last-Event-ID", "Go on after this event.", object{"type": "string", "maxLength": 128}),
			},
		})
}

func lastParameter() object {
	return parameter("query", "last", "Begin with the newest so many that the group keeps.",
		object{"type": "integer", "minimum": 1, "maximum": engine.HistoryCapacity})
}

// socketOperation describes the request of a WebSocket, as far as OpenAPI can.
func socketOperation(summary string) object {
	return object{
		"summary": summary + " A WebSocket; subprotocol " + protocol + ": each message is {\"id\", \"event\", \"data\"}.",
		"parameters": []any{
			parameter("query", "last_event_id", "Go on after this message.", object{"type": "string", "maxLength": 128}),
			lastParameter(),
		},
		"responses": object{"101": object{"description": "It is a WebSocket now."}, "default": ref("responses", "Problem")},
	}
}

func ticketOperation() object {
	text := object{"type": "string"}
	return operation("Make a short-lived permission for one thing, to be put into a URL as ?ticket=.", "201",
		response("The ticket.", "application/json", object{"type": "object", "properties": object{"ticket": text}}), object{
			"requestBody": object{"content": object{"application/json": object{"schema": object{
				"type": "object", "required": []string{"action", "name", "seconds"}, "additionalProperties": false,
				"properties": object{
					"action":  object{"enum": []string{"read group", "write group", "read stream", "call task", "revoke task"}},
					"name":    text,
					"seconds": object{"type": "integer", "minimum": 1},
				},
			}}}},
		})
}

func kickOperation() object {
	return operation("End a user's event streams and WebSockets. It needs the operator's token.", "200",
		response("How many ended.", "application/json", object{"type": "object", "properties": object{"ended": object{"type": "integer"}}}), nil)
}

// callSchema describes the calls of a task: every required argument by name,
// or the first ones by place.
func callSchema(def *rhubarb.Definition) object {
	if def.Params == nil {
		return ref("schemas", "Call")
	}
	properties, prefix, required := object{}, []any{}, []string{}
	for _, p := range def.Params {
		prefix = append(prefix, typeSchema(p.Type))
		if p.Name == "" {
			continue
		}
		properties[p.Name] = typeSchema(p.Type)
		if p.Required {
			required = append(required, p.Name)
		}
	}
	args := object{"type": "array", "maxItems": len(prefix)}
	if len(prefix) > 0 {
		args["prefixItems"] = prefix
	}
	kwargs := object{"type": "object", "properties": properties, "additionalProperties": false}
	schema := object{
		"type": "object", "additionalProperties": false,
		"properties": object{"args": args, "kwargs": kwargs, "options": ref("schemas", "Options")},
	}
	switch {
	case len(def.Params) == 1 && def.Params[0].Name == "":
		args["minItems"], schema["required"] = 1, []string{"args"}
	case len(required) > 0:
		schema["anyOf"] = []any{
			object{"required": []string{"kwargs"}, "properties": object{"kwargs": object{"required": required}}},
			object{"required": []string{"args"}, "properties": object{"args": object{"minItems": 1}}},
		}
	}
	return schema
}

func typeSchema(typ string) object {
	if typ == "any" {
		return object{}
	}
	return object{"type": []string{typ, "null"}}
}

// schemas are those that every document has.
func schemas() object {
	str, obj := object{"type": "string"}, object{"type": "object"}
	secs := object{"type": "number", "minimum": 0, "maximum": maxSeconds, "description": "seconds"}
	when := object{"type": "string", "format": "date-time"}
	options := object{
		"countdown": secs, "eta": when, "expires": object{"oneOf": []any{secs, when}},
		"queue":         object{"type": "string", "minLength": 1, "maxLength": engine.MaxQueue},
		"priority":      object{"type": "integer", "minimum": 0, "maximum": 9, "description": "0 is first"},
		"headers":       object{"type": "object", "additionalProperties": str},
		"task_id":       object{"type": "string", "minLength": 1, "maxLength": engine.MaxID},
		"ignore_result": object{"type": "boolean"}, "soft_time_limit": secs, "time_limit": secs,
	}
	integer := object{"type": "integer"}
	return object{
		"Options": object{"type": "object", "properties": options, "additionalProperties": false},
		"Call": object{"type": "object", "additionalProperties": false,
			"properties": object{"args": object{"type": "array"}, "kwargs": obj, "options": ref("schemas", "Options")}},
		"State": object{"type": "object", "required": []string{"id", "status", "ready", "attempt"}, "properties": object{
			"id": str, "status": object{"type": "string", "description": "PENDING, STARTED, PROGRESS, RETRY, SUCCESS, FAILURE, REVOKED, REJECTED, IGNORED or the task's own"},
			"ready": object{"type": "boolean"}, "attempt": integer, "result": object{}, "meta": object{},
			"error":    object{"type": "object", "properties": object{"type": str, "module": str, "message": str}},
			"progress": object{"type": "object", "properties": object{"current": integer, "total": integer}},
			"updated":  when, "date_done": str,
		}},
		"Problem": object{"type": "object", "required": []string{"title", "status", "detail"}, "properties": object{
			"title": str, "status": integer, "detail": str,
			"errors": object{"type": "array", "items": object{"type": "object", "properties": object{"field": str, "problem": str}}},
		}},
	}
}
