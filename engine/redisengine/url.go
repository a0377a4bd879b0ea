package redisengine

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// address is what a URL says. It is parsed by hand, as kombu's URLs of several
// servers are none to net/url.
type address struct {
	kind  kind
	tls   bool
	hosts []string // host:port, or one path of a socket
	user  string
	pass  string
	db    int

	prefix       string
	resultPrefix string // with its separator
	resultDB     *int

	masterName     string
	sentinelUser   string
	sentinelPass   string
	certReqs       string // "", none: no certificate is checked
	anyName        bool   // certificates may bear another name
	caCerts        string
	certFile       string
	keyFile        string
	readTimeout    time.Duration
	connectTimeout time.Duration
	pingEvery      time.Duration
	resp2          bool
	noted          []string // options that are understood and change nothing
}

// kind is what stands at the address.
type kind int

const (
	server kind = iota
	socket
	sentinel
	cluster
)

// scheme is what a URL begins with.
type scheme struct {
	kind kind
	tls  bool
	port string
}

// The names of kombu and Celery, and the likes of theirs for what they have
// not. kombu/transport/redis.py, celery/backends/redis.py.
var schemes = map[string]scheme{
	"redis":          {server, false, "6379"},
	"rediss":         {server, true, "6379"},
	"valkey":         {server, false, "6379"},
	"valkeys":        {server, true, "6379"},
	"redis+socket":   {socket, false, ""},
	"unix":           {socket, false, ""},
	"sentinel":       {sentinel, false, "26379"},
	"sentinels":      {sentinel, true, "26379"},
	"redis+cluster":  {cluster, false, "6379"},
	"rediss+cluster": {cluster, true, "6379"},
}

// Serves reports whether a URL's scheme, without the colon, is one of Redis.
func Serves(name string) bool {
	_, ok := schemes[name]
	return ok
}

// parseURL reads a URL. No part of it that may hold a password is in an error.
func parseURL(raw string) (*address, error) {
	name, rest, ok := strings.Cut(raw, "://")
	s, known := schemes[name]
	if !ok || !known {
		return nil, errors.New("a URL of Redis begins with redis://, rediss://, redis+socket://, sentinel:// or redis+cluster://")
	}
	a := &address{kind: s.kind, tls: s.tls}
	var wheres []string
	tail := ""
	for part := range strings.SplitSeq(rest, ";"+name+"://") { // kombu names several Sentinels so
		where := part
		if i := strings.IndexAny(part, "/?#"); i >= 0 {
			where, tail = part[:i], part[i:]
		}
		wheres = append(wheres, where)
	}
	if strings.ContainsAny(tail, "@#") {
		return nil, errors.New("there is an @ or # behind the host: in a user name, a password or an option write / as %2F, ? as %3F, # as %23, @ as %40")
	}
	if err := a.readWhere(wheres, s); err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(tail, "?")
	if err := a.readPath(path); err != nil {
		return nil, err
	}
	if err := a.readQuery(query); err != nil {
		return nil, err
	}
	return a, a.check()
}

func (a *address) readWhere(wheres []string, s scheme) error {
	var hosts []string
	for part := range strings.SplitSeq(strings.Join(wheres, ","), ",") {
		if i := strings.LastIndexByte(part, '@'); i >= 0 {
			if err := a.readUser(part[:i]); err != nil {
				return err
			}
			part = part[i+1:]
		}
		if part != "" {
			hosts = append(hosts, part)
		}
	}
	if s.kind == socket {
		if len(hosts) > 0 {
			return errors.New("a socket has no host: write redis+socket:///path/to/redis.sock")
		}
		return nil
	}
	if len(hosts) == 0 {
		hosts = []string{"localhost"}
	}
	for _, h := range hosts {
		full, err := hostPort(h, s.port)
		if err != nil {
			return err
		}
		a.hosts = append(a.hosts, full)
	}
	return nil
}

func (a *address) readUser(text string) error {
	user, pass, _ := strings.Cut(text, ":")
	var err, err2 error
	a.user, err = url.PathUnescape(user)
	a.pass, err2 = url.PathUnescape(pass)
	if err != nil || err2 != nil {
		return errors.New("user name or password have a % that begins no escape: write it as %25")
	}
	return nil
}

// hostPort adds the default port. What stands for a port may be a password
// whose @ was forgotten, so the error does not tell it.
func hostPort(text, port string) (string, error) {
	host := strings.TrimSuffix(text, ":")
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, cmp.Or(p, port)
	} else if strings.Count(text, ":") > 1 && text[0] != '[' {
		return "", errors.New("a host has more than one colon: write an IPv6 address in brackets, and an @ behind a password")
	}
	host = strings.Trim(host, "[]")
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", errors.New("the port is no number from 1 to 65535")
	}
	return net.JoinHostPort(cmp.Or(host, "localhost"), port), nil
}

func (a *address) readPath(path string) error {
	path, err := url.PathUnescape(path)
	if err != nil {
		return errors.New("the path has a % that begins no escape")
	}
	if a.kind == socket {
		if path == "" || path == "/" {
			return errors.New("there is no path of a socket: write redis+socket:///path/to/redis.sock")
		}
		a.hosts = []string{path}
		return nil
	}
	return a.readDB(strings.Trim(path, "/"))
}

func (a *address) readDB(text string) (err error) {
	a.db, err = database(text)
	return err
}

func database(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, errors.New("the database is no number: write redis://host:6379/0")
	}
	return n, nil
}

// options are those of a URL's query: Celery's and redis-py's names, and for
// what Celery sets elsewhere the name of its setting.
var options = map[string]func(a *address, v string) error{
	"virtual_host":     (*address).readDB,
	"db":               (*address).readDB,
	"global_keyprefix": func(a *address, v string) error { a.prefix = v; return nil },
	"result_keyprefix": func(a *address, v string) error { a.resultPrefix = separated(v); return nil },
	"result_db": func(a *address, v string) error {
		n, err := database(v)
		a.resultDB = &n
		return err
	},
	"master_name":            func(a *address, v string) error { a.masterName = v; return nil },
	"sentinel_username":      func(a *address, v string) error { a.sentinelUser = v; return nil },
	"sentinel_password":      func(a *address, v string) error { a.sentinelPass = v; return nil },
	"ssl_ca_certs":           func(a *address, v string) error { a.caCerts = v; return nil },
	"ssl_certfile":           func(a *address, v string) error { a.certFile = v; return nil },
	"ssl_keyfile":            func(a *address, v string) error { a.keyFile = v; return nil },
	"ssl_cert_reqs":          (*address).readCertReqs,
	"ssl_check_hostname":     func(a *address, v string) error { a.anyName = strings.EqualFold(v, "false"); return nil },
	"socket_timeout":         func(a *address, v string) error { return seconds(v, &a.readTimeout) },
	"socket_connect_timeout": func(a *address, v string) error { return seconds(v, &a.connectTimeout) },
	"health_check_interval":  func(a *address, v string) error { return seconds(v, &a.pingEvery) },
	"protocol":               (*address).readProtocol,
	"visibility_timeout":     func(a *address, _ string) error { a.noted = append(a.noted, "visibility_timeout"); return nil },
}

func (a *address) readQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the options behind the ? are not of the form name=value&name=value")
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		set, ok := options[name]
		if !ok {
			return fmt.Errorf("unknown option %s: there are %s", name, optionNames())
		}
		if err := set(a, values.Get(name)); err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
	}
	return nil
}

func optionNames() string {
	names := make([]string, 0, len(options))
	for name := range options {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// readCertReqs: kombu/utils/url.py parse_ssl_cert_reqs. A client that checks a
// certificate if there is one checks it always, as servers have one.
func (a *address) readCertReqs(v string) error {
	switch strings.ToLower(strings.TrimPrefix(v, "CERT_")) {
	case "required", "optional":
		a.certReqs = ""
	case "none":
		a.certReqs = "none"
	default:
		return errors.New("there are CERT_REQUIRED, CERT_OPTIONAL and CERT_NONE")
	}
	return nil
}

func (a *address) readProtocol(v string) error {
	if v != "2" && v != "3" {
		return errors.New("there are 2 and 3")
	}
	a.resp2 = v == "2"
	return nil
}

// separated ends a prefix of results as Celery does. celery/backends/base.py
// _add_global_keyprefix.
func separated(prefix string) string {
	if prefix == "" || strings.ContainsAny(prefix[len(prefix)-1:], ":_-.") {
		return prefix
	}
	return prefix + "_"
}

func seconds(v string, to *time.Duration) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || !(n > 0 && n < 1e6) {
		return errors.New("it is a number of seconds above 0")
	}
	*to = time.Duration(n * float64(time.Second))
	return nil
}

// check refuses what does not go together.
func (a *address) check() error {
	sentinels := a.masterName != "" || a.sentinelUser != "" || a.sentinelPass != ""
	switch {
	case a.kind == sentinel && a.masterName == "":
		return errors.New("which master the Sentinels should be asked for is not said: add ?master_name=NAME")
	case a.kind != sentinel && sentinels:
		return errors.New("options of Sentinel need a URL that begins with sentinel://")
	case a.kind == server && len(a.hosts) > 1:
		return errors.New("there are several hosts: write redis+cluster:// for a cluster, sentinel:// for Sentinels")
	case !a.tls && (a.certReqs != "" || a.anyName || a.caCerts != "" || a.certFile != "" || a.keyFile != ""):
		return errors.New("options of TLS need a URL that begins with rediss://")
	case (a.certFile == "") != (a.keyFile == ""):
		return errors.New("ssl_certfile and ssl_keyfile are needed both")
	}
	if a.kind != cluster {
		return nil
	}
	return a.checkCluster()
}

// checkCluster: a script touches many keys, and a cluster runs it only if they
// are in one slot. A prefix with a hash tag puts all keys of this installation
// there; several installations spread over the nodes.
func (a *address) checkCluster() error {
	switch {
	case !tagged(a.prefix):
		return errors.New("a cluster runs scripts on keys of one slot only: add ?global_keyprefix={celery}, with the braces, " +
			"here and in the Python workers' broker_transport_options, so that all keys share a slot")
	case a.resultPrefix != "" && tag(a.resultPrefix) != tag(a.prefix):
		return fmt.Errorf("result_keyprefix must have the same tag in braces as global_keyprefix, {%s}, to be in the same slot", tag(a.prefix))
	case a.db != 0 || a.resultDB != nil && *a.resultDB != 0:
		return errors.New("a cluster has only database 0")
	}
	if a.resultPrefix == "" {
		a.resultPrefix = separated(a.prefix)
	}
	return nil
}

func tagged(prefix string) bool { return tag(prefix) != "" }

// tag is the part of a key that says its slot, or empty. Redis Cluster
// specification, Hash tags: what is between the first { and the next }.
func tag(key string) string {
	_, rest, ok := strings.Cut(key, "{")
	if !ok {
		return ""
	}
	name, _, ok := strings.Cut(rest, "}")
	if !ok {
		return ""
	}
	return name
}

// String names the server to people: without password and options.
func (a *address) String() string {
	text := strings.Join(a.hosts, ",")
	if a.kind != socket && a.db != 0 {
		text += "/" + strconv.Itoa(a.db)
	}
	return text
}

// WithResults returns the broker's URL with the database and the prefix that a
// URL of results names, as Celery has them apart. Both must be on one server,
// where a task's result and the end of its message are one step.
func WithResults(broker, results string) (string, error) {
	b, err := parseURL(broker)
	if err != nil {
		return "", fmt.Errorf("redis: %w", err)
	}
	name, _, _ := strings.Cut(results, ":")
	if !Serves(name) {
		return "", fmt.Errorf("redis: results in %s: are not kept beside a broker on Redis: name the same Redis", name)
	}
	r, err := parseURL(results)
	if err != nil {
		return "", fmt.Errorf("redis: results: %w", err)
	}
	if b.kind != r.kind || b.tls != r.tls || !slices.Equal(b.hosts, r.hosts) || b.masterName != r.masterName {
		return "", fmt.Errorf("redis: results on %s and the broker on %s are two servers: results are kept on the broker's, in another database if you like", r, b)
	}
	more := url.Values{"result_db": {strconv.Itoa(r.db)}}
	if p := cmp.Or(r.resultPrefix, separated(r.prefix)); p != "" {
		more.Set("result_keyprefix", p)
	}
	joint := "?"
	if strings.Contains(broker, "?") {
		joint = "&"
	}
	return broker + joint + more.Encode(), nil
}
