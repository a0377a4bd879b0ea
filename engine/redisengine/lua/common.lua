-- Stands before every script. KEYS[1] is the prefix of our keys, which is a key
-- of the slot they are all in; ARGV[1] that of results; ARGV[2] and ARGV[3] are
-- the databases of results and broker where they differ.
local R, T = KEYS[1], ARGV[1]
local P = string.sub(R, 1, -9) -- without "rhubarb:"
local SEP = '\6\22'
local STEPS = {[0] = '', SEP .. '3', SEP .. '6', SEP .. '9'}
local FINAL = {SUCCESS = true, FAILURE = true, REVOKED = true, REJECTED = true, IGNORED = true}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Numbers become text with all their digits.
local function int(n) return string.format('%.0f', n) end

local function onResults() if ARGV[2] ~= '' then redis.call('SELECT', ARGV[2]) end end
local function onBroker() if ARGV[3] ~= '' then redis.call('SELECT', ARGV[3]) end end

-- fences returns a number after which n fences are free. They follow the clock,
-- so that they grow even if the key is lost.
local function fences(n)
  local first = math.max(tonumber(redis.call('GET', R .. 'fence') or '0'), clock[1] * 1000000 + clock[2])
  redis.call('SET', R .. 'fence', int(first + n))
  return first
end

-- A claim says who runs a task, or what is known of one that waits to be run
-- again: fence|attempt|deliveries|flags|owner|step|taken|queue. Flags: r, it
-- should stop; s, it has a stream. The owner of one that waits is empty.
local function readClaim(s)
  local f, a, d, fl, o, st, tk, q = string.match(s or '', '^(%d+)|(%d+)|(%d+)|(%l*)|(%w*)|(%d)|(%d+)|(.*)$')
  if not f then return nil end
  return {fence = f, attempt = tonumber(a), deliveries = tonumber(d), flags = fl, owner = o, step = tonumber(st), taken = tonumber(tk), queue = q}
end

local function writeClaim(id, c)
  redis.call('HSET', R .. 'run', id, table.concat({c.fence, c.attempt, c.deliveries, c.flags, c.owner, c.step, int(c.taken), c.queue}, '|'))
end

local function flagged(c, flag) return string.find(c.flags, flag, 1, true) ~= nil end

-- free takes a claim from its owner. One that never counted is forgotten.
local function free(id, c)
  redis.call('HDEL', R .. 'held:' .. c.owner, id)
  c.owner = ''
  if c.attempt == 0 and c.flags == '' then
    redis.call('HDEL', R .. 'run', id)
  else
    writeClaim(id, c)
  end
end

local function listOf(queue, step) return P .. queue .. STEPS[tonumber(step)] end

-- idOf reads a task's id off an envelope as kombu and we write it, with the
-- correlation id first among the properties; else off the parsed text. A text
-- without one gets a name of its own.
local function idOf(e)
  local _, at = string.find(e, '"properties": {"correlation_id": "', 1, true)
  if not at then _, at = string.find(e, '"properties":{"correlation_id":"', 1, true) end
  if at then
    local stop = string.find(e, '"', at + 1, true)
    local id = stop and string.sub(e, at + 1, stop - 1)
    if id and id ~= '' and #id <= 255 and not string.find(id, '\\', 1, true) then return id end
  end
  local ok, m = pcall(cjson.decode, e)
  if ok and type(m) == 'table' then
    local p, h = m.properties, m.headers
    local id = type(p) == 'table' and p.correlation_id
    if type(id) ~= 'string' or id == '' then id = type(h) == 'table' and h.id end
    if type(id) == 'string' and id ~= '' and #id <= 255 then return id end
  end
  return '?' .. redis.sha1hex(e)
end

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

local function statusOf(id, res)
  return string.match(res, '^{"status": ?"([^"\\]*)"') or redis.call('HGET', R .. 'm:' .. id, 'st') or nil
end

local function resultOf(id)
  onResults()
  local res = redis.call('GET', T .. id)
  onBroker()
  return res
end

local function finished(id)
  return FINAL[statusOf(id, resultOf(id) or '') or ''] == true
end

-- keepState writes a result as celery/backends/redis.py set does. A record
-- that does not say its status has it among the stream's facts, and one that is
-- empty is not written.
local function keepState(id, status, rec, ttl)
  if rec ~= '' then
    onResults()
    if ttl < 0 then
      redis.call('SET', T .. id, rec)
    else
      redis.call('SET', T .. id, rec, 'PX', ttl)
    end
    redis.call('PUBLISH', T .. id, rec)
    onBroker()
  end
  if string.match(rec, '^{"status": ?"([^"\\]*)"') ~= status then
    redis.call('HSET', R .. 'm:' .. id, 'st', status)
    if ttl >= 0 then redis.call('PEXPIRE', R .. 'm:' .. id, ttl) end
    redis.call('PUBLISH', R .. 's:' .. id, '')
  end
end

local function endStream(m, payload, keep)
  record(m, 'end', payload)
  redis.call('HSET', R .. 'm:' .. m.id, 'e', 1)
  saveStream(m, keep)
end

-- What was published or finished is remembered for two to four minutes.
local function seen(back) return R .. 'seen:' .. int(math.floor(now / 120000) - back) end

local function remember(pairs)
  if #pairs == 0 then return end
  redis.call('HSET', seen(0), unpack(pairs))
  redis.call('PEXPIRE', seen(0), 300000)
end

local function rounded(id, round) return round == '0' and id or id .. '\0' .. round end

-- finish ends a task for good: its result and its stream. rec is false where
-- nothing is kept. The claim is the caller's to drop.
local function finish(id, c, status, rec, ttl)
  if rec then keepState(id, status, rec, ttl) end
  local m = (not c or flagged(c, 's') or c.attempt > 1) and openStream(id)
  if m and not m.ended then
    endStream(m, rec or '', ttl)
  elseif not rec and redis.call('ZSCORE', R .. 'want', id) then
    redis.call('PUBLISH', R .. 's:' .. id, '')
  end
end

local function drop(id, c)
  if c.owner ~= '' then redis.call('HDEL', R .. 'held:' .. c.owner, id) end
  redis.call('HDEL', R .. 'run', id)
end

-- revoke ends a task that is not running.
local function revoke(id, c, rec, ttl)
  keepState(id, 'REVOKED', rec, ttl)
  local m = openStream(id)
  if not m and c and c.attempt > 0 then m = streamOf(id, c) end
  m = m or newStream(id)
  if m.a == 0 then m.n = -1 end
  if not m.ended then endStream(m, rec, ttl) end
  if c then drop(id, c) end
end

-- stopped ends a task that was to be stopped when it ran, by what was kept of
-- that wish.
local function stopped(id, c)
  local rec = redis.call('GET', R .. 'v:' .. id) or ''
  local ttl = redis.call('PTTL', R .. 'v:' .. id)
  revoke(id, c, rec, ttl > 0 and ttl or 86400000)
end

-- shelve puts a message on a shelf: step|deliveries|attempt|since|lengths of
-- queue and reason|, then queue, reason and envelope.
local function shelve(shelf, id, c, reason, e)
  redis.call('ZADD', R .. shelf, int(fences(1) + 1), id)
  redis.call('HSET', R .. shelf .. ':m', id, table.concat({c.step, c.deliveries, c.attempt, int(now), #c.queue, #reason, ''}, '|') .. c.queue .. reason .. e)
end

-- delay hides a message until its time, where a Go worker will look for it;
-- else it goes into its queue as Celery sends it, with its eta.
local function delay(queue, step, at, e)
  local key = R .. 'delayed:' .. queue
  redis.call('ZADD', key, at, step .. e)
  local due = redis.call('ZSCORE', R .. 'due', queue)
  if not due or tonumber(due) > at then
    redis.call('ZADD', R .. 'due', at, queue)
    redis.call('PUBLISH', R .. 'due', int(at))
  end
end

local function push(lists, queue, step, e)
  local key = listOf(queue, step)
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
    lists[#lists + 1] = key
  end
  list[#list + 1] = e
end

local function flush(lists, command)
  for _, key in ipairs(lists) do
    local list = lists[key]
    for i = 1, #list, 1000 do redis.call(command, key, unpack(list, i, math.min(i + 999, #list))) end
  end
end

-- publish sends messages {id, queue, step, at, round, envelope} and forgets
-- those that are known.
local function publish(ps)
  if #ps == 0 then return end
  local ids, fields, keys = {}, {}, {}
  for i, p in ipairs(ps) do ids[i], fields[i], keys[i] = p[1], rounded(p[1], p[5]), T .. p[1] end
  local cur, prev = redis.call('HMGET', seen(0), unpack(fields)), redis.call('HMGET', seen(1), unpack(fields))
  local claims = redis.call('HMGET', R .. 'run', unpack(ids))
  onResults()
  local known = redis.call('EXISTS', unpack(keys))
  onBroker()
  local lists, memory, fresh = {}, {}, {}
  for i, p in ipairs(ps) do
    local claim = p[5] == '0' and readClaim(claims[i])
    local stale = claim and claim.owner == '' and claim.taken < now - 3600000
    if cur[i] or prev[i] or fresh[fields[i]] or claim and not stale or known > 0 and p[5] == '0' and finished(p[1]) then
      p.known = true
    else
      fresh[fields[i]] = true
      memory[#memory + 1] = fields[i]
      memory[#memory + 1] = 'p'
      local at = tonumber(p[4])
      if at > now and redis.call('ZCOUNT', R .. 'c:' .. p[2], now, '+inf') > 0 then
        delay(p[2], p[3], at, p[6])
      else
        push(lists, p[2], p[3], p[6])
      end
    end
  end
  flush(lists, 'LPUSH')
  remember(memory)
end
