-- needs: head

-- fences returns a number after which n fences are free. They follow the clock,
-- so that they grow even if the key is lost.
local function fences(n)
  local first = math.max(tonumber(redis.call('GET', R .. 'fence') or '0'), clock[1] * 1000000 + clock[2])
  redis.call('SET', R .. 'fence', int(first + n))
  return first
end
