-- needs: fence
--
-- ARGV: name, owner, ttl in ms, a number for this call. Returns the fence as
-- text, or empty. A call that is made twice has the fence of the first.
local key = R .. 'lock:' .. ARGV[4]
local fence, call = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) ')
if fence then return call == ARGV[7] and fence or '' end
fence = int(fences(1) + 1)
redis.call('SET', key, fence .. ' ' .. ARGV[7] .. ' ' .. ARGV[5], 'PX', ARGV[6])
return fence
