-- needs: claim stream
--
-- ARGV from 4: stream, fence, the count, bytes and age in ms to keep, name of the
-- call, then kind and payload of each record. Answers with 1 if that is
-- superseded.

-- writer returns the stream if the fence is that of its writer.
local function writer(id, fence)
  local c = readClaim(redis.call('HGET', R .. 'run', id))
  if c then
    if c.owner == '' or c.fence ~= fence then return nil end
    if not flagged(c, 's') then
      c.flags = c.flags .. 's'
      writeClaim(id, c)
    end
    return streamOf(id, c)
  end
  local m = openStream(id)
  if m and m.f == fence and not m.ended then return m end
  return nil
end

-- trim drops the oldest records, but for resets, of which there are too many.
local function trim(m, count, bytes, age)
  local key = R .. 's:' .. m.id
  while true do
    local old = redis.call('XRANGE', key, int(m.x) .. '-0', '+', 'COUNT', 32)
    for _, r in ipairs(old) do
      local f = r[2]
      if f[6] ~= 'reset' then
        if m.c <= count and m.b <= bytes and tonumber(f[8]) >= now - age then return end
        redis.call('XDEL', key, r[1])
        m.c, m.b = m.c - 1, m.b - #f[10]
      end
      m.x = tonumber(string.match(r[1], '^%d+')) + 1
    end
    if #old < 32 then return end
  end
end

local m = writer(ARGV[4], ARGV[5])
if not m then return 1 end
if repeated(m, ARGV[9]) then return 0 end
for i = 10, #ARGV, 2 do record(m, ARGV[i], ARGV[i + 1]) end
trim(m, tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
redis.call('HSET', R .. 'm:' .. m.id, 'g', ARGV[8])
called(m, ARGV[9])
saveStream(m)
return 0
