-- needs: head claim

-- The facts of a stream: a attempt, n number within it, o offset, b bytes and
-- c count of what may be dropped, x where that begins, g age it may have, f the
-- fence of its writer, l the last calls that changed it, by their names of eight
-- letters: one that is repeated since its answer was lost changes nothing.
local function openStream(id)
  local v = redis.call('HMGET', R .. 'm:' .. id, 'a', 'n', 'o', 'b', 'c', 'x', 'e', 'f', 'l')
  if not v[1] then return nil end
  return {id = id, a = tonumber(v[1]), n = tonumber(v[2]), o = tonumber(v[3]), b = tonumber(v[4]), c = tonumber(v[5]), x = tonumber(v[6]), ended = v[7], f = v[8], l = v[9] or ''}
end

local function newStream(id) return {id = id, a = 0, n = 0, o = 0, b = 0, c = 0, x = 1, l = ''} end

-- A stream nobody writes to is kept for a week, one that has ended as long as
-- its result.
local week = 7 * 24 * 3600 * 1000

local function saveStream(m, keep)
  local key = R .. 'm:' .. m.id
  redis.call('HSET', key, 'a', m.a, 'n', m.n, 'o', m.o, 'b', m.b, 'c', m.c, 'x', m.x)
  if keep and keep < 0 then
    redis.call('PERSIST', key)
    redis.call('PERSIST', R .. 's:' .. m.id)
  else
    redis.call('PEXPIRE', key, keep or week)
    redis.call('PEXPIRE', R .. 's:' .. m.id, keep or week)
  end
  redis.call('PUBLISH', R .. 's:' .. m.id, '')
end

local function repeated(m, call) return string.find(m.l, call, 1, true) ~= nil end

local function called(m, call)
  m.l = string.sub(call .. m.l, 1, 64)
  redis.call('HSET', R .. 'm:' .. m.id, 'l', m.l)
end

local function record(m, kind, payload, at)
  m.n = kind == 'reset' and 0 or m.n + 1
  m.o = m.o + 1
  if kind ~= 'reset' and kind ~= 'end' then
    m.b = m.b + #payload
    m.c = m.c + 1
  end
  redis.call('XADD', R .. 's:' .. m.id, int(m.o) .. '-0', 'a', m.a, 'n', m.n, 'k', kind, 't', at or now, 'p', payload)
end

-- streamOf returns a running task's stream, which begins with its claim.
local function streamOf(id, c)
  local m = openStream(id)
  if not m then
    m = newStream(id)
    m.a = math.max(c.attempt, 1)
    record(m, 'reset', '', c.taken)
  end
  return m
end

local function endStream(m, payload, keep)
  record(m, 'end', payload)
  redis.call('HSET', R .. 'm:' .. m.id, 'e', 1)
  saveStream(m, keep)
end
