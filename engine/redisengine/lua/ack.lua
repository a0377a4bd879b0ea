-- needs: result memory
--
-- Settles what is simply done. ARGV from 4: owner, and for each settlement its
-- id, the whole of its claim, the record or "" if nothing is kept, and for how
-- many seconds. Records say their status, which is final. Answers with the
-- numbers, from 1, of those that are not as simple as that: their claim has
-- changed.
local owner, ids, n = ARGV[4], {}, 0
for i = 5, #ARGV, 4 do
  n = n + 1
  ids[n] = ARGV[i]
end
local claims = redis.call('HMGET', R .. 'run', unpack(ids))
local done, memory, other, twice = {}, {}, {}, {}
onResults()
for k = 1, n do
  local i = 1 + 4 * k
  local id, rec = ids[k], ARGV[i + 2]
  if claims[k] ~= ARGV[i + 1] or twice[id] then
    other[#other + 1] = k
  else
    twice[id] = true
    done[#done + 1] = id
    if rec == '' then
      memory[#memory + 1], memory[#memory + 2] = id, 'd'
    else
      redis.call('SETEX', T .. id, ARGV[i + 3], rec)
      redis.call('PUBLISH', T .. id, rec)
    end
  end
end
onBroker()
if #done > 0 then
  redis.call('HDEL', R .. 'run', unpack(done))
  redis.call('HDEL', R .. 'held:' .. owner, unpack(done))
end
if #memory > 0 then
  remember(memory)
  if redis.call('EXISTS', R .. 'want') == 1 then
    for i = 1, #memory, 2 do
      if redis.call('ZSCORE', R .. 'want', memory[i]) then redis.call('PUBLISH', R .. 's:' .. memory[i], '') end
    end
  end
end
return other
