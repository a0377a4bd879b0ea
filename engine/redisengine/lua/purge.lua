-- needs: claim queue message
--
-- ARGV[4]: queue. Drops up to a thousand ready messages of each step and as many
-- delayed ones, and what is known of their tasks. Answers with how many.
local n = 0

local function forget(es)
  if #es == 0 then return end
  local ids = {}
  for i, e in ipairs(es) do ids[i] = idOf(e) end
  for i, claim in ipairs(redis.call('HMGET', R .. 'run', unpack(ids))) do
    local c = readClaim(claim)
    if c and c.owner == '' then redis.call('HDEL', R .. 'run', ids[i]) end
  end
  n = n + #es
end

for step = 0, 3 do forget(redis.call('RPOP', listOf(ARGV[4], step), 1000) or {}) end
local key = R .. 'delayed:' .. ARGV[4]
forget(redis.call('ZRANGE', key, 0, 999))
redis.call('ZREMRANGEBYRANK', key, 0, 999)
if redis.call('EXISTS', key) == 0 then redis.call('ZREM', R .. 'due', ARGV[4]) end
return n
