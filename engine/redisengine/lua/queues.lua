-- needs: claim queue
--
-- Answers with name, ready, delayed and held of each queue.
local held = {}
for _, claim in ipairs(redis.call('HVALS', R .. 'run')) do
  local c = readClaim(claim)
  if c and c.owner ~= '' then held[c.queue] = (held[c.queue] or 0) + 1 end
end
local out = {}
for _, queue in ipairs(redis.call('SMEMBERS', R .. 'queues')) do
  local ready = 0
  for step = 0, 3 do ready = ready + redis.call('LLEN', listOf(queue, step)) end
  for _, v in ipairs({queue, ready, redis.call('ZCARD', R .. 'delayed:' .. queue), held[queue] or 0}) do out[#out + 1] = v end
end
return out
