-- needs: result memory
--
-- ARGV from 4: stream, offset after which to read, how many, whether the reader
-- waits for more. Answers with the records, then attempt, number, offset and
-- end of the stream, the age it keeps, and of a task the claim, the result and
-- whether it is done without one.
local id = ARGV[4]
local m = redis.call('HMGET', R .. 'm:' .. id, 'a', 'n', 'o', 'e', 'g')
local out = {m[1] and redis.call('XRANGE', R .. 's:' .. id, int(ARGV[5] + 1) .. '-0', '+', 'COUNT', ARGV[6]) or {}}
for i = 1, 5 do out[#out + 1] = m[i] end
if m[4] then return out end
out[#out + 1] = redis.call('HGET', R .. 'run', id)
local rec = resultOf(id)
local status = statusOf(id, rec or '')
out[#out + 1] = FINAL[status or ''] == true and (rec or '')
out[#out + 1] = (redis.call('HGET', seen(0), id) == 'd' or redis.call('HGET', seen(1), id) == 'd') and 1 or 0
if ARGV[7] == '1' and not out[8] then redis.call('ZADD', R .. 'want', now + 120000, id) end
return out
