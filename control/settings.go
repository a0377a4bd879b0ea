package control

import (
	"bytes"
	"context"
	"net/url"
	"regexp"
	"strings"
)

// masked stands where a secret was. kombu/utils/url.py sanitize_url.
const masked = "********"

// secretName: celery/app/utils.py HIDDEN_SETTINGS.
var secretName = regexp.MustCompile(`(?i)API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI`)

// settings returns the node's without what must not be told.
func (s *Server) settings(defaults bool) []Setting {
	var list []Setting
	for _, set := range s.node.Settings() {
		if set.Default && !defaults {
			continue
		}
		if text, ok := set.Value.(string); secretName.MatchString(set.Name) {
			set.Value = masked
		} else if ok {
			set.Value = MaskURL(text)
		}
		list = append(list, set)
	}
	return list
}

// conf writes the settings in their order.
func (s *Server) conf(_ context.Context, a arguments) (any, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, set := range s.settings(a.truth("with_defaults")) {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := encode(set.Value)
		if err != nil {
			return nil, err
		}
		b.Write(append(append(quoted(set.Name), ':'), value...))
	}
	b.WriteByte('}')
	return rawJSON(b.Bytes()), nil
}

// rawJSON is written as it is.
type rawJSON []byte

// MarshalJSON implements json.Marshaler.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// MaskURL returns a URL, or a list of them with semicolons between, with stars
// where a password was. Text that is no URL is returned as it is.
func MaskURL(text string) string {
	parts := strings.Split(text, ";")
	for i, part := range parts {
		if !strings.Contains(part, "://") {
			continue
		}
		parts[i] = maskOne(part)
	}
	return strings.Join(parts, ";")
}

func maskOne(text string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	rest, query, asked := strings.Cut(rest, "?")
	// A password may hold an @ or a slash that nobody escaped: what is between
	// the first colon and the last @ is a secret.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, _, has := strings.Cut(rest[:at], ":")
		if has {
			user += ":" + masked
		}
		rest = user + rest[at:]
	}
	if asked {
		rest += "?" + maskQuery(query)
	}
	return scheme + "://" + rest
}

// maskQuery hides the values of parameters with a secret's name.
func maskQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, p := range pairs {
		name, _, has := strings.Cut(p, "=")
		if plain, err := url.QueryUnescape(name); has && (err != nil || secretName.MatchString(plain)) {
			pairs[i] = name + "=" + masked
		}
	}
	return strings.Join(pairs, "&")
}
