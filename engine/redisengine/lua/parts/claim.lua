-- needs: head

-- A claim says who runs a task, or what is known of one that waits to be run
-- again: fence|attempt|deliveries|flags|owner|step|taken|queue. Flags: r, it
-- should stop; s, it has a stream. The owner of one that waits is empty.
local function readClaim(s)
  local f, a, d, fl, o, st, tk, q = string.match(s or '', '^(%d+)|(%d+)|(%d+)|(%l*)|(%w*)|(%d)|(%d+)|(.*)$')
  if not f then return nil end
  return {fence = f, attempt = tonumber(a), deliveries = tonumber(d), flags = fl, owner = o, step = tonumber(st), taken = tonumber(tk), queue = q}
end

local function claimText(c)
  return table.concat({c.fence, c.attempt, c.deliveries, c.flags, c.owner, c.step, int(c.taken), c.queue}, '|')
end

local function writeClaim(id, c) redis.call('HSET', R .. 'run', id, claimText(c)) end

local function flagged(c, flag) return string.find(c.flags, flag, 1, true) ~= nil end

-- free takes a claim from its owner. One that never counted is forgotten.
local function free(id, c)
  redis.call('HDEL', R .. 'held:' .. c.owner, id)
  c.owner = ''
  if c.attempt == 0 and c.flags == '' then
    redis.call('HDEL', R .. 'run', id)
  else
    writeClaim(id, c)
  end
end

local function drop(id, c)
  if c.owner ~= '' then redis.call('HDEL', R .. 'held:' .. c.owner, id) end
  redis.call('HDEL', R .. 'run', id)
end
