package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// arguments are the keyword arguments of a command.
type arguments map[string]json.RawMessage

func readArguments(method string, raw json.RawMessage) (arguments, error) {
	var a arguments
	if len(raw) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, failure{"TypeError", method + "() argument after ** must be a mapping"}
	}
	return a, nil
}

// check says what Python says of a call that its function cannot take.
func (a arguments) check(fn string, need, may []string, open bool) error {
	var missing []string
	for _, name := range need {
		if a[name] == nil {
			missing = append(missing, "'"+name+"'")
		}
	}
	if n := len(missing); n > 0 {
		noun := "arguments"
		if n == 1 {
			noun = "argument"
		}
		list := strings.Join(missing, " and ")
		if n > 2 {
			list = strings.Join(missing[:n-1], ", ") + ", and " + missing[n-1]
		}
		return failure{"TypeError", fmt.Sprintf("%s() missing %d required positional %s: %s", fn, n, noun, list)}
	}
	if open {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if !slices.Contains(need, name) && !slices.Contains(may, name) {
			return failure{"TypeError", fmt.Sprintf("%s() got an unexpected keyword argument '%.60s'", fn, name)}
		}
	}
	return nil
}

// absent reports that an argument is not there or null.
func (a arguments) absent(name string) bool {
	return a[name] == nil || string(a[name]) == "null"
}

// text reads an argument that Python takes as a str.
func (a arguments) text(name string) (string, error) {
	var s string
	if a.absent(name) {
		return "", nil
	}
	if err := json.Unmarshal(a[name], &s); err != nil {
		return "", failure{"TypeError", name + " must be a string"}
	}
	return s, nil
}

// truth is Python's idea of true and false.
func (a arguments) truth(name string) bool {
	switch strings.TrimSpace(string(a[name])) {
	case "", "null", "false", "0", "0.0", `""`, "[]", "{}":
		return false
	}
	return true
}

// number reads a number or a text that is one.
func (a arguments) number(name string, or float64) (float64, error) {
	if a.absent(name) {
		return or, nil
	}
	raw := a[name]
	if raw[0] == '"' {
		s, err := a.text(name)
		if err != nil {
			return 0, err
		}
		raw = []byte(s)
	}
	var n float64
	if err := json.Unmarshal(raw, &n); err != nil {
		return 0, failure{"ValueError", name + " is not a number"}
	}
	return n, nil
}

// texts reads a list of texts, or one. kombu/utils/functional.py maybe_list.
func (a arguments) texts(name string, most int) ([]string, error) {
	if a.absent(name) {
		return nil, nil
	}
	list, err := oneOrMore(a[name])
	if err != nil {
		return nil, failure{"TypeError", name + " must be a string or a list of strings"}
	}
	if len(list) > most {
		return nil, failure{"ValueError", fmt.Sprintf("%s has %d items, at most %d are taken", name, len(list), most)}
	}
	return list, nil
}

func oneOrMore(raw json.RawMessage) ([]string, error) {
	var list []string
	if len(raw) > 0 && raw[0] == '"' {
		list = make([]string, 1)
		return list, json.Unmarshal(raw, &list[0])
	}
	return list, json.Unmarshal(raw, &list)
}
