-- needs: claim fence queue stream
--
-- ARGV from 4: shelf, ids. Puts messages back into their queues as new. Answers
-- with 1 for each that is not there.
local shelf, answers = ARGV[4], {}
for i = 5, #ARGV do
  local id = ARGV[i]
  local v = redis.call('HGET', R .. shelf .. ':m', id)
  local step, _, attempt, _, nq, nr, at = string.match(v or '', '^(%d)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|()')
  if step then
    local queue, e = string.sub(v, at, at + nq - 1), string.sub(v, at + nq + nr)
    redis.call('HDEL', R .. shelf .. ':m', id)
    redis.call('ZREM', R .. shelf, id)
    local m = openStream(id)
    if shelf == 'dead' then
      onResults()
      redis.call('DEL', T .. id)
      onBroker()
      redis.call('HDEL', R .. 'm:' .. id, 'st', 'e')
      if m and m.ended then redis.call('XDEL', R .. 's:' .. id, int(m.o) .. '-0') end
      if m then saveStream(m) end
    end
    if tonumber(attempt) > 0 or m then
      writeClaim(id, {fence = int(fences(1) + 1), attempt = tonumber(attempt), deliveries = 0, flags = m and 's' or '', owner = '', step = step, taken = now, queue = queue})
    end
    place('LPUSH', queue, step, {e}, 1, 1)
    answers[#answers + 1] = 0
  else
    answers[#answers + 1] = 1
  end
end
return answers
