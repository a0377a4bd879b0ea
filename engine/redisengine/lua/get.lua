-- needs: memory
--
-- ARGV from 4: largest record, ids. Answers with seven for each: record, claim,
-- attempt, status, time and attempt of the last state put, 1 if it is done
-- without a record. A record that is too large is its length, as a number.
local out = {}
for i = 5, #ARGV do
  local id = ARGV[i]
  onResults()
  local size = redis.call('STRLEN', T .. id)
  local rec = size > tonumber(ARGV[4]) and size or redis.call('GET', T .. id)
  onBroker()
  local m = redis.call('HMGET', R .. 'm:' .. id, 'a', 'st', 'tm', 'pa')
  local done = redis.call('HGET', seen(0), id) == 'd' or redis.call('HGET', seen(1), id) == 'd'
  for _, v in ipairs({rec, redis.call('HGET', R .. 'run', id), m[1], m[2], m[3], m[4], done and 1 or 0}) do out[#out + 1] = v end
end
return out
