package redisengine

import (
	"context"
	"embed"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

//go:embed lua
var sources embed.FS

// The scripts. Each names the parts that it needs. Those marked with finishing
// run though Redis is at its maxmemory: what was accepted goes on, and makes
// room.
var (
	pushScript    = script("push")
	publishScript = script("publish")
	takeScript    = finishing("take")
	ackScript     = finishing("ack")
	settleScript  = finishing("settle")
	extendScript  = finishing("extend")
	keepScript    = finishing("keep")
	revokeScript  = finishing("revoke")
	purgeScript   = script("purge")
	queuesScript  = script("queues")
	restoreScript = finishing("restore")
	getScript     = script("get")
	putScript     = script("put")
	finishScript  = finishing("finish")
	beginScript   = script("begin")
	appendScript  = script("append")
	endScript     = finishing("end")
	readScript    = finishing("read")
	forgetScript  = script("forget")
)

func script(name string) *rueidis.Lua { return rueidis.NewLuaScript(source(name)) }

func finishing(name string) *rueidis.Lua {
	return rueidis.NewLuaScript("#!lua flags=allow-oom\n" + source(name))
}

// source puts a script together. Only what it needs stands before it, since all
// of it is run each time.
func source(name string) string {
	var text strings.Builder
	had := map[string]bool{}
	var add func(file string)
	add = func(file string) {
		raw, err := sources.ReadFile("lua/" + file + ".lua")
		if err != nil {
			panic(err) // a file that was built in
		}
		first, _, _ := strings.Cut(string(raw), "\n")
		if needs, ok := strings.CutPrefix(first, "-- needs: "); ok {
			for part := range strings.FieldsSeq(needs) {
				if !had[part] {
					had[part] = true
					add("parts/" + part)
				}
			}
		}
		text.Write(raw)
	}
	add(name)
	return text.String()
}

// run runs a script.
func (e *Engine) run(ctx context.Context, s *rueidis.Lua, args []string) rueidis.RedisResult {
	return s.Exec(ctx, e.client, []string{e.own("")}, args)
}

// ask runs a script that only reads, or may be repeated, while Redis is away
// for a moment.
func (e *Engine) ask(ctx context.Context, s *rueidis.Lua, args []string) (parts []rueidis.RedisMessage, err error) {
	err = e.again(ctx, func() error {
		parts, err = e.run(ctx, s, args).ToArray()
		return err
	})
	return parts, err
}

// arguments begins a list of arguments for a script, with room for n more.
func (e *Engine) arguments(n int) []string {
	return append(make([]string, 0, len(e.base)+n), e.base...)
}

// codes reads a list of small numbers.
func (e *Engine) codes(res rueidis.RedisResult) ([]int64, error) {
	out, err := res.AsIntSlice()
	return out, e.wrong(err)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// keepFor writes how long something is kept, in ms: zero means def, and -1
// forever.
func keepFor(d, def time.Duration) string {
	switch {
	case d < 0:
		return "-1"
	case d == 0:
		d = def
	}
	return millis(max(d, time.Millisecond))
}
