-- needs: claim queue memory result

-- publish sends messages {id, queue, step, at, round, envelope} and forgets
-- those that are known.
local function publish(ps)
  if #ps == 0 then return end
  local ids, fields, keys = {}, {}, {}
  for i, p in ipairs(ps) do ids[i], fields[i], keys[i] = p[1], rounded(p[1], p[5]), T .. p[1] end
  local cur, prev = redis.call('HMGET', seen(0), unpack(fields)), redis.call('HMGET', seen(1), unpack(fields))
  local claims = redis.call('HMGET', R .. 'run', unpack(ids))
  onResults()
  local known = redis.call('EXISTS', unpack(keys))
  onBroker()
  local lists, memory, fresh = {}, {}, {}
  for i, p in ipairs(ps) do
    local claim = p[5] == '0' and readClaim(claims[i])
    local stale = claim and claim.owner == '' and claim.taken < now - 3600000
    if cur[i] or prev[i] or fresh[fields[i]] or claim and not stale or known > 0 and p[5] == '0' and finished(p[1]) then
      p.known = true
    else
      fresh[fields[i]] = true
      memory[#memory + 1] = fields[i]
      memory[#memory + 1] = 'p'
      local at = tonumber(p[4])
      if at > now and redis.call('ZCOUNT', R .. 'c:' .. p[2], now, '+inf') > 0 then
        delay(p[2], p[3], at, p[6])
      else
        push(lists, p[2], p[3], p[6])
      end
    end
  end
  flush(lists, 'LPUSH')
  remember(memory)
end
