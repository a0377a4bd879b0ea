package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Matcher is how a pattern selects nodes by their names. kombu/matcher.py.
type Matcher string

const (
	// Glob is Python's fnmatch on the whole name: * ? [a-c] [!a-c].
	Glob Matcher = "glob"
	// PCRE is a regular expression that matches at the start of the name. Go
	// workers know those of package regexp, which has no lookaround and no
	// references.
	PCRE Matcher = "pcre"
)

// maxPattern bounds a pattern in bytes.
const maxPattern = 1000

// audience says who should act on a request.
type audience struct {
	names   []string
	within  string // nodes whose name is a part of it; see readAudience
	pattern string
	matcher Matcher
}

func readAudience(parts map[string]json.RawMessage) (audience, error) {
	var a audience
	raw := parts["destination"]
	// Python asks "hostname in destination", which for a text is a search.
	if len(raw) > 0 && bytes.TrimSpace(raw)[0] == '"' {
		if err := json.Unmarshal(raw, &a.within); err != nil {
			return a, fmt.Errorf("destination: %w", err)
		}
	} else if len(raw) > 0 {
		if err := json.Unmarshal(raw, &a.names); err != nil {
			return a, fmt.Errorf("destination is not a list of node names: %w", err)
		}
	}
	for key, to := range map[string]any{"pattern": &a.pattern, "matcher": &a.matcher} {
		if raw := parts[key]; raw != nil {
			if err := json.Unmarshal(raw, to); err != nil {
				return a, fmt.Errorf("%s is not text: %w", key, err)
			}
		}
	}
	return a, nil
}

// includes reports whether a node should act. kombu/pidbox.py handle_message:
// names go before the pattern, which needs its matcher. The error says why the
// pattern cannot be used, and can be answered.
func (a audience) includes(node string) (bool, error) {
	switch {
	case len(a.names) > 0:
		return slices.Contains(a.names, node), nil
	case a.within != "":
		return strings.Contains(a.within, node), nil
	case a.pattern != "" && a.matcher != "":
		return a.matcher.match(a.pattern, node)
	}
	return true, nil
}

func (m Matcher) match(pattern, node string) (bool, error) {
	if len(pattern) > maxPattern {
		return false, failure{"ValueError", fmt.Sprintf("pattern has %d bytes, at most %d are tried", len(pattern), maxPattern)}
	}
	var expr string
	switch m {
	case Glob:
		expr = globExpr(pattern)
	case PCRE:
		expr = `\A(?:` + pattern + `)`
	default:
		return false, failure{"MatcherNotInstalled", fmt.Sprintf("No matcher installed for %.60s", string(m))}
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return false, failure{"error", "this worker cannot use the pattern: " + err.Error()}
	}
	return re.MatchString(node), nil
}

// globExpr writes a glob as a regular expression. CPython, Lib/fnmatch.py
// translate.
func globExpr(glob string) string {
	glob = strings.ToValidUTF8(glob, "\uFFFD") // as JSON's decoder does with names
	b := []byte(`(?s)\A`)
	for i := 0; i < len(glob); i++ {
		switch glob[i] {
		case '*':
			b = append(b, ".*"...)
		case '?':
			b = append(b, '.')
		case '[':
			class, end := globClass(glob, i)
			b, i = append(b, class...), end
		default:
			j := i + 1
			for j < len(glob) && !strings.ContainsRune("*?[", rune(glob[j])) {
				j++
			}
			b = append(b, regexp.QuoteMeta(glob[i:j])...)
			i = j - 1
		}
	}
	return string(append(b, `\z`...))
}

// globClass writes the class that opens at glob[i] and returns where it ends. A
// bracket that is never closed stands for itself, and so does a ] that comes
// first.
func globClass(glob string, i int) (expr string, end int) {
	j := i + 1
	if j < len(glob) && glob[j] == '!' {
		j++
	}
	if j < len(glob) && glob[j] == ']' {
		j++
	}
	n := strings.IndexByte(glob[min(j, len(glob)):], ']')
	if n < 0 {
		return `\[`, i
	}
	inner := glob[i+1 : j+n]
	not, inner := strings.HasPrefix(inner, "!"), strings.TrimPrefix(inner, "!")
	inner = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `&`, `\&`, `~`, `\~`).Replace(inner)
	class := "[" + inner + "]"
	if not {
		class = "[^" + inner + "]"
	}
	if _, err := regexp.Compile(class); err != nil { // a range that runs backwards is empty
		if class = `[^\x00-\x{10FFFF}]`; not {
			class = "."
		}
	}
	return class, j + n
}
