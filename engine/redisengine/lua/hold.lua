-- needs: head
--
-- ARGV: name, fence, ttl in ms or empty to release. Returns 1 if the term was
-- not over.
local key = R .. 'lock:' .. ARGV[4]
if string.match(redis.call('GET', key) or '', '^%d+') ~= ARGV[5] then return 0 end
if ARGV[6] == '' then
  redis.call('DEL', key)
else
  redis.call('PEXPIRE', key, ARGV[6])
end
return 1
