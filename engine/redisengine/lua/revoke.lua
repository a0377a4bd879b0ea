-- needs: ending memory
--
-- ARGV from 4: id, record and time to live of each state.
redis.call('ZREMRANGEBYSCORE', R .. 'revoked', '-inf', now)
for i = 4, #ARGV, 3 do
  local id, rec, ttl = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local c = readClaim(redis.call('HGET', R .. 'run', id))
  if c and c.owner ~= '' then
    if not flagged(c, 'r') then
      c.flags = c.flags .. 'r'
      writeClaim(id, c)
    end
    redis.call('SET', R .. 'v:' .. id, rec, 'PX', ttl > 0 and ttl or week)
    redis.call('PUBLISH', R .. 'own:' .. c.owner, id)
  elseif not finished(id) and redis.call('HGET', seen(0), id) ~= 'd' and redis.call('HGET', seen(1), id) ~= 'd' then
    revoke(id, c, rec, ttl)
    redis.call('ZADD', R .. 'revoked', ttl < 0 and '+inf' or int(now + ttl), id)
  end
end
redis.call('ZREMRANGEBYRANK', R .. 'revoked', 0, -1000001)
return 0
