-- needs: head

local FINAL = {SUCCESS = true, FAILURE = true, REVOKED = true, REJECTED = true, IGNORED = true}

local function statusOf(id, res)
  return string.match(res, '^{"status": ?"([^"\\]*)"') or redis.call('HGET', R .. 'm:' .. id, 'st') or nil
end

local function resultOf(id)
  onResults()
  local res = redis.call('GET', T .. id)
  onBroker()
  return res
end

local function finished(id)
  return FINAL[statusOf(id, resultOf(id) or '') or ''] == true
end

-- keepState writes a result as celery/backends/redis.py set does. A record
-- that does not say its status has it among the stream's facts, and one that is
-- empty is not written.
local function keepState(id, status, rec, ttl)
  if rec ~= '' then
    onResults()
    if ttl < 0 then
      redis.call('SET', T .. id, rec)
    else
      redis.call('SET', T .. id, rec, 'PX', ttl)
    end
    redis.call('PUBLISH', T .. id, rec)
    onBroker()
  end
  if string.match(rec, '^{"status": ?"([^"\\]*)"') ~= status then
    redis.call('HSET', R .. 'm:' .. id, 'st', status)
    if ttl >= 0 then redis.call('PEXPIRE', R .. 'm:' .. id, ttl) end
    redis.call('PUBLISH', R .. 's:' .. id, '')
  end
end
