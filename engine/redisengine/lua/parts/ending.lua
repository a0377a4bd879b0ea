-- needs: claim stream result

-- finish ends a task for good: its result and its stream. rec is false where
-- nothing is kept. The claim is the caller's to drop.
local function finish(id, c, status, rec, ttl)
  if rec then keepState(id, status, rec, ttl) end
  local m = (not c or flagged(c, 's') or c.attempt > 1) and openStream(id)
  if m and not m.ended then
    if not rec then redis.call('HSET', R .. 'm:' .. id, 'st', 'SUCCESS') end
    endStream(m, rec or '', ttl)
  elseif not rec and redis.call('ZSCORE', R .. 'want', id) then
    redis.call('PUBLISH', R .. 's:' .. id, '')
  end
end

-- revoke ends a task that is not running.
local function revoke(id, c, rec, ttl)
  keepState(id, 'REVOKED', rec, ttl)
  local m = openStream(id)
  if not m and c and c.attempt > 0 then m = streamOf(id, c) end
  m = m or newStream(id)
  if m.a == 0 then m.n = -1 end
  if not m.ended then endStream(m, rec, ttl) end
  if c then drop(id, c) end
end

-- stopped ends a task that was to be stopped when it ran, by what was kept of
-- that wish.
local function stopped(id, c)
  local rec = redis.call('GET', R .. 'v:' .. id) or ''
  local ttl = redis.call('PTTL', R .. 'v:' .. id)
  revoke(id, c, rec, ttl > 0 and ttl or 86400000)
end
