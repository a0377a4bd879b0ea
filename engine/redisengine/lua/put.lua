-- needs: claim stream result
--
-- ARGV from 4: id, fence, status, record and time to live of each state. Answers
-- with 1 for each that is superseded.
local answers = {}
for i = 4, #ARGV, 5 do
  local id, status, rec = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local c = readClaim(redis.call('HGET', R .. 'run', id))
  if c and c.owner ~= '' and c.fence == ARGV[i + 1] then
    keepState(id, status, rec, tonumber(ARGV[i + 4]))
    local m = streamOf(id, c)
    record(m, status == 'PROGRESS' and 'progress' or 'state', rec)
    redis.call('HSET', R .. 'm:' .. id, 'tm', int(now), 'pa', c.attempt)
    saveStream(m)
    if not flagged(c, 's') then
      c.flags = c.flags .. 's'
      writeClaim(id, c)
    end
    answers[#answers + 1] = 0
  else
    answers[#answers + 1] = 1
  end
end
return answers
