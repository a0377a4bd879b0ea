package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2/unstable"
)

// configFile is a flag that names a file of flags, in TOML: a key is a flag's
// name. What is given on the command line or in the environment wins over it.
type configFile struct{ *config }

// config is what such a file says.
type config struct {
	path string
	keys []setting
}

// setting is one key of it.
type setting struct {
	name  string
	line  int
	kind  unstable.Kind
	value any // as kong's mappers take it: text, or a list of texts
}

// maxConfig bounds the file in bytes.
const maxConfig = 1 << 20

// Decode implements kong.MapperValue: it reads the file.
func (f *configFile) Decode(ctx *kong.DecodeContext) error {
	var path string
	if err := ctx.Scan.PopValueInto("FILE", &path); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err == nil && len(raw) > maxConfig {
		err = fmt.Errorf("%s: has more than %d bytes", path, maxConfig)
	}
	if err != nil {
		return err
	}
	f.config = &config{path: path}
	return f.parse(raw)
}

// parse reads TOML's keys and values with their lines.
func (c *config) parse(raw []byte) error {
	var p unstable.Parser
	p.Reset(raw)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.Comment {
			continue
		}
		key := e.Key()
		key.Next()
		s := setting{name: string(key.Node().Data), line: p.Shape(key.Node().Raw).Start.Line}
		if e.Kind != unstable.KeyValue || !key.IsLast() {
			return c.wrong(s, errors.New("is a table, and there are none: want a flag's name, an equals sign and a value"))
		}
		if slices.ContainsFunc(c.keys, func(t setting) bool { return t.name == s.name }) {
			return c.wrong(s, errors.New("is there twice"))
		}
		if err := s.read(e.Value()); err != nil {
			return c.wrong(s, err)
		}
		c.keys = append(c.keys, s)
	}
	var bad *unstable.ParserError
	if errors.As(p.Error(), &bad) {
		return fmt.Errorf("%s:%d: is not TOML: %s", c.path, p.Shape(p.Range(bad.Highlight)).Start.Line, bad.Message)
	}
	return p.Error()
}

// wrong says where an error is.
func (c *config) wrong(s setting, err error) error {
	return fmt.Errorf("%s:%d: %s %w", c.path, s.line, s.name, err)
}

func (s *setting) read(v *unstable.Node) error {
	s.kind = v.Kind
	switch v.Kind {
	case unstable.String, unstable.Integer, unstable.Bool:
		s.value = string(v.Data)
		return nil
	case unstable.Array:
		list := []any{}
		for each := v.Children(); each.Next(); {
			if each.Node().Kind != unstable.String {
				return errors.New(`is a list of something else than text: want a form like ["one", "two"]`)
			}
			list = append(list, string(each.Node().Data))
		}
		s.value = list
		return nil
	}
	return errors.New("has a value of a kind that no flag has: want text, a whole number, true, false or a list")
}

// BeforeResolve has kong ask the file for flags that were not given.
func (f *configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	given, _ := ctx.FlagValue(trace.Flag).(configFile)
	var flags []*kong.Flag
	for _, p := range ctx.Path {
		flags = append(flags, p.Flags...)
	}
	for _, s := range given.keys {
		i := slices.IndexFunc(flags, func(f *kong.Flag) bool { return f.Name == s.name })
		if i < 0 || s.name == "config" || s.name == "help" || s.name == "version" {
			return given.wrong(s, errors.New("is no flag of this subcommand"))
		}
		if err := s.fits(flags[i]); err != nil {
			return given.wrong(s, err)
		}
	}
	ctx.AddResolver(given)
	return nil
}

// fits reports what is wrong with a value for a flag.
func (s setting) fits(f *kong.Flag) error {
	want, kind := unstable.String, f.Target.Kind()
	switch {
	case kind == reflect.Bool:
		want = unstable.Bool
	case kind == reflect.Slice:
		want = unstable.Array
	case f.Target.CanInt() && f.Target.Type().PkgPath() == "": // a time.Duration is text
		want = unstable.Integer
	}
	if s.kind != want {
		return fmt.Errorf("must be %s: want a form like %s", kinds[want], forms[want])
	}
	into := reflect.New(f.Target.Type()).Elem()
	return f.Mapper.Decode(&kong.DecodeContext{Value: f.Value, Scan: kong.Scan().PushTyped(s.value, kong.FlagValueToken)}, into)
}

var kinds = map[unstable.Kind]string{
	unstable.String: "text", unstable.Bool: "true or false", unstable.Integer: "a whole number", unstable.Array: "a list of texts",
}

var forms = map[unstable.Kind]string{
	unstable.String: `"…"`, unstable.Bool: "true", unstable.Integer: "100", unstable.Array: `["one", "two"]`,
}

// Validate implements kong.Resolver; BeforeResolve has done it.
func (configFile) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (f configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	for _, s := range f.keys {
		if s.name == flag.Name {
			return s.value, nil
		}
	}
	return nil, nil
}

// locate adds the line to an error of a flag that the file has set.
func (f configFile) locate(err error) error {
	if err == nil || f.config == nil {
		return err
	}
	for _, s := range f.keys {
		if rest, ok := strings.CutPrefix(err.Error(), "--"+s.name+" "); ok {
			return Exit(codeOf(err), fmt.Errorf("%s:%d: %s %s", f.path, s.line, s.name, rest))
		}
		if rest, ok := strings.CutPrefix(err.Error(), "--"+s.name+": "); ok {
			return Exit(codeOf(err), fmt.Errorf("%s:%d: %s: %s", f.path, s.line, s.name, rest))
		}
	}
	return err
}
