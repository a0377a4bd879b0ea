-- needs: head
--
-- Publishes plain messages of one list: no time, no round, no key. ARGV from 4:
-- the list, and id and envelope of each. Answers with the numbers, from 1, of
-- those of which something is known.
local ids, keys, n = {}, {}, 0
for i = 5, #ARGV, 2 do
  n = n + 1
  ids[n], keys[n] = ARGV[i], T .. ARGV[i]
end
local bucket = math.floor(now / 120000)
local memory = R .. 'seen:' .. bucket -- as in parts/memory.lua
local cur, prev = redis.call('HMGET', memory, unpack(ids)), redis.call('HMGET', R .. 'seen:' .. bucket - 1, unpack(ids))
local claims = redis.call('HMGET', R .. 'run', unpack(ids))
onResults()
local known = redis.call('EXISTS', unpack(keys)) > 0
onBroker()
local list, marks, m, other, twice = {}, {}, 0, {}, {}
for k = 1, n do
  local id = ids[k]
  if known or cur[k] or prev[k] or claims[k] or twice[id] then
    other[#other + 1] = k
  else
    twice[id] = true
    m = m + 1
    list[m], marks[2 * m - 1], marks[2 * m] = ARGV[4 + 2 * k], id, 'p'
  end
end
if m > 0 then
  local res = redis.pcall('LPUSH', ARGV[4], unpack(list))
  if type(res) == 'table' and res.err then -- it is no list: all are looked at closer
    for k = 1, n do other[k] = k end
    return other
  end
  redis.call('HSET', memory, unpack(marks))
  redis.call('PEXPIRE', memory, 300000)
end
return other
