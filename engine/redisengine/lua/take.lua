-- needs: fence claim message queue shelf stream
--
-- ARGV from 4: owner, lease in ms, how many, largest envelope, how often a
-- message may be handed out, queues. Answers with the time, the epoch of the
-- data, and for each list of messages with one claim that claim, their number,
-- and id and envelope of each; the number is -1 for one that was handed out too
-- often.
local owner, want, largest, often = ARGV[4], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local lists = {}
for step = 0, 3 do
  for q = 9, #ARGV do
    local got = want > 0 and redis.pcall('RPOP', listOf(ARGV[q], step), want)
    if got and not got.err then -- of a key that is no list who waits for it says so
      lists[#lists + 1] = {got, step, ARGV[q]}
      want = want - #got
    end
  end
end
local epoch = redis.call('GET', R .. 'epoch')
if not epoch then
  epoch = int(now)
  redis.call('SET', R .. 'epoch', epoch)
end
local out = {int(now), epoch}
if #lists == 0 then return out end

redis.call('ZADD', R .. 'live', now + ARGV[5], owner)
local ids, total = {}, 0
for _, list in ipairs(lists) do
  for _, e in ipairs(list[1]) do
    total = total + 1
    ids[total] = idOf(e)
  end
end
local claims = redis.call('HMGET', R .. 'run', unpack(ids))
local revoked = redis.call('ZMSCORE', R .. 'revoked', unpack(ids))
local wanted = redis.call('EXISTS', R .. 'want') == 1 and redis.call('ZMSCORE', R .. 'want', unpack(ids)) or {}
local fence, at = int(fences(1) + 1), int(now)
local run, held, taken, n, special = {}, {}, {}, 0, {}

local function claim(id, e, meta, told)
  run[n + 1], run[n + 2], held[n + 1], held[n + 2] = id, meta, id, e
  n = n + 2
  taken[id] = true
  if told then redis.call('PUBLISH', R .. 's:' .. id, '') end
end

-- again claims a message of which something is known.
local function again(id, e, step, queue, old, told)
  local c = {fence = fence, attempt = old.attempt, deliveries = old.deliveries, flags = old.flags, owner = owner, step = step, taken = now, queue = queue}
  local poison = often > 0 and old.deliveries >= often
  if not poison then
    c.attempt, c.deliveries = old.attempt + 1, old.deliveries + 1
    if flagged(old, 's') or c.attempt > 1 then
      local m = openStream(id)
      if not m and old.attempt > 0 then m = streamOf(id, old) end
      m = m or newStream(id)
      m.a = c.attempt
      record(m, 'reset', '')
      saveStream(m)
    end
  end
  local meta = claimText(c)
  claim(id, e, meta, told)
  for _, v in ipairs({meta, poison and -1 or 1, id, e}) do special[#special + 1] = v end
end

-- odd decides about a message that is not simply new.
local function odd(i, e, step, queue)
  local id, old = ids[i], readClaim(claims[i])
  if taken[id] or old and old.owner ~= '' then
    delay(queue, step, now + 1000, e) -- the same task is running: this one waits for it
  elseif revoked[i] then
    if old then redis.call('HDEL', R .. 'run', id) end
  elseif #e > largest then
    redis.call('LPUSH', R .. 'oversize', e)
    shelve('dead', id, {step = step, deliveries = 1, attempt = 0, queue = queue},
      'the message has ' .. #e .. ' bytes, at most ' .. largest .. ' are read; the whole of it lies in the list ' .. R .. 'oversize', '')
  else
    again(id, e, step, queue, old or {attempt = 0, deliveries = 0, flags = '', owner = ''}, wanted[i])
  end
end

local i = 0
for _, list in ipairs(lists) do
  local step, queue = list[2], list[3]
  local meta = fence .. '|1|1||' .. owner .. '|' .. step .. '|' .. at .. '|' .. queue
  local head, count = #out + 1, 0
  out[head], out[head + 1] = meta, 0
  for _, e in ipairs(list[1]) do
    i = i + 1
    local id = ids[i]
    if claims[i] or revoked[i] or taken[id] or #e > largest then
      odd(i, e, step, queue)
    else
      claim(id, e, meta, wanted[i])
      count = count + 1
      out[head + 2 * count], out[head + 2 * count + 1] = id, e
    end
  end
  out[head + 1] = count
end
for _, v in ipairs(special) do out[#out + 1] = v end
if n > 0 then
  redis.call('HSET', R .. 'run', unpack(run))
  redis.call('HSET', R .. 'held:' .. owner, unpack(held))
end
return out
