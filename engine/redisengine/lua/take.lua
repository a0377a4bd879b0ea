-- ARGV from 4: owner, lease in ms, how many, largest envelope, how often a
-- message may be handed out, queues. Of one that was too often the attempt is 0. Answers
-- with the time, the epoch of the data and seven for each message: id, attempt, deliveries, fence,
-- step, queue, envelope.
local owner, want, largest, often = ARGV[4], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local got = {}
for step = 0, 3 do
  for q = 9, #ARGV do
    if want == 0 then break end
    for _, e in ipairs(redis.call('RPOP', listOf(ARGV[q], step), want) or {}) do
      got[#got + 1] = {e = e, step = step, queue = ARGV[q]}
      want = want - 1
    end
  end
end
local epoch = redis.call('GET', R .. 'epoch')
if not epoch then
  epoch = int(now)
  redis.call('SET', R .. 'epoch', epoch)
end
local out = {int(now), epoch}
if #got == 0 then return out end

redis.call('ZADD', R .. 'live', now + ARGV[5], owner)
local ids = {}
for i, g in ipairs(got) do ids[i] = idOf(g.e) end
local claims = redis.call('HMGET', R .. 'run', unpack(ids))
local revoked = redis.call('ZMSCORE', R .. 'revoked', unpack(ids))
local wanted = redis.call('EXISTS', R .. 'want') == 1 and redis.call('ZMSCORE', R .. 'want', unpack(ids)) or {}
local fence = fences(#got)
local run, held, taken = {}, {}, {}

-- claim writes what is known of a message and who has it now.
local function claim(i, g, old)
  local id = ids[i]
  local c = {fence = int(fence + i), attempt = 1, deliveries = 1, flags = '', owner = owner, step = g.step, taken = now, queue = g.queue}
  local poison = old and often > 0 and old.deliveries >= often
  if poison then
    c.attempt, c.deliveries, c.flags = old.attempt, old.deliveries, old.flags
  elseif old then
    c.attempt, c.deliveries, c.flags = old.attempt + 1, old.deliveries + 1, old.flags
    if flagged(old, 's') or c.attempt > 1 then
      local m = openStream(id)
      if not m and old.attempt > 0 then m = streamOf(id, old) end
      m = m or newStream(id)
      m.a = c.attempt
      record(m, 'reset', '')
      saveStream(m)
    end
  end
  taken[id] = true
  run[#run + 1] = id
  run[#run + 1] = table.concat({c.fence, c.attempt, c.deliveries, c.flags, owner, g.step, int(now), g.queue}, '|')
  held[#held + 1] = id
  held[#held + 1] = g.e
  for _, v in ipairs({id, poison and 0 or c.attempt, c.deliveries, c.fence, g.step, g.queue, g.e}) do out[#out + 1] = v end
  if wanted[i] then redis.call('PUBLISH', R .. 's:' .. id, '') end
end

for i, g in ipairs(got) do
  local old = claims[i] and readClaim(claims[i])
  if taken[ids[i]] or old and old.owner ~= '' then
    delay(g.queue, g.step, now + 1000, g.e) -- the same task is running: this one waits for it
  elseif revoked[i] then
    if old then redis.call('HDEL', R .. 'run', ids[i]) end
  elseif #g.e > largest then
    redis.call('LPUSH', R .. 'oversize', g.e)
    shelve('dead', ids[i], {step = g.step, deliveries = 1, attempt = 0, queue = g.queue},
      'the message has ' .. #g.e .. ' bytes, at most ' .. largest .. ' are read; the whole of it lies in the list ' .. R .. 'oversize', '')
  else
    claim(i, g, old)
  end
end
if #run > 0 then
  redis.call('HSET', R .. 'run', unpack(run))
  redis.call('HSET', R .. 'held:' .. owner, unpack(held))
end
return out
