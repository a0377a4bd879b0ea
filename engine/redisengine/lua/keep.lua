-- needs: claim queue ending
--
-- ARGV from 4: for how long, in ms, a queue is known to have a Go worker, and
-- pairs of owner and queue. Puts back what dead owners held, and moves what is
-- due into its queue. Answers with the ms until there is more to do.
for i = 5, #ARGV, 2 do
  local key = R .. 'c:' .. ARGV[i + 1]
  redis.call('ZADD', key, now + ARGV[4], ARGV[i])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('PEXPIRE', key, ARGV[4])
end
redis.call('ZREMRANGEBYSCORE', R .. 'want', '-inf', now)
local batch = 500

-- While Redis was away nobody could renew a lease: those of the living get a
-- moment to do it. Keepers come each 2.5 seconds.
local tick = tonumber(redis.call('GET', R .. 'tick') or now)
redis.call('SET', R .. 'tick', int(now))
if now - tick > 5000 then
  for _, o in ipairs(redis.call('ZRANGE', R .. 'live', 0, -1)) do redis.call('ZADD', R .. 'live', 'GT', now + 4000, o) end
end

-- orphaned puts back up to a batch of what an owner held, next in its list.
local function orphaned(owner)
  local held = redis.call('HRANDFIELD', R .. 'held:' .. owner, batch, 'WITHVALUES')
  for i = 1, #held, 2 do
    local id, e = held[i], held[i + 1]
    local c = readClaim(redis.call('HGET', R .. 'run', id))
    if not c or c.owner ~= owner then
      redis.call('HDEL', R .. 'held:' .. owner, id)
    elseif flagged(c, 'r') then
      stopped(id, c)
    else
      free(id, c)
      place('RPUSH', c.queue, c.step, {e}, 1, 1)
    end
  end
  return #held == 2 * batch
end

local function due(queue)
  local key, lists = R .. 'delayed:' .. queue, {}
  local ready = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, batch)
  for _, e in ipairs(ready) do push(lists, queue, string.sub(e, 1, 1), string.sub(e, 2)) end
  flush(lists, 'LPUSH')
  if #ready > 0 then redis.call('ZREMRANGEBYRANK', key, 0, #ready - 1) end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', R .. 'due', first[2], queue)
  else
    redis.call('ZREM', R .. 'due', queue)
  end
end

local more = false
local dead = redis.call('ZRANGEBYSCORE', R .. 'live', '-inf', now, 'LIMIT', 0, 1)[1]
if dead then
  if orphaned(dead) then
    more = true
  else
    redis.call('ZREM', R .. 'live', dead)
    redis.call('DEL', R .. 'held:' .. dead)
  end
end
local queue = redis.call('ZRANGEBYSCORE', R .. 'due', '-inf', now, 'LIMIT', 0, 1)[1]
if queue then due(queue) end
if more then return 0 end
local wait = 60000
for _, key in ipairs({'live', 'due'}) do
  local first = redis.call('ZRANGE', R .. key, 0, 0, 'WITHSCORES')[2]
  if first then wait = math.min(wait, math.max(0, math.ceil(first - now))) end
end
return wait
