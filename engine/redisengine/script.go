package redisengine

import (
	"context"
	"embed"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

//go:embed lua
var sources embed.FS

// The scripts. Each begins with lua/common.lua.
var (
	publishScript = script("publish")
	takeScript    = script("take")
	settleScript  = script("settle")
	extendScript  = script("extend")
	keepScript    = script("keep")
	revokeScript  = script("revoke")
	purgeScript   = script("purge")
	queuesScript  = script("queues")
	restoreScript = script("restore")
	getScript     = script("get")
	putScript     = script("put")
	finishScript  = script("finish")
	beginScript   = script("begin")
	appendScript  = script("append")
	endScript     = script("end")
	readScript    = script("read")
	forgetScript  = script("forget")
)

func script(name string) *rueidis.Lua {
	text := ""
	for _, part := range []string{"common", name} {
		raw, err := sources.ReadFile("lua/" + part + ".lua")
		if err != nil {
			panic(err) // a file that was built in
		}
		text += string(raw)
	}
	return rueidis.NewLuaScript(text)
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
