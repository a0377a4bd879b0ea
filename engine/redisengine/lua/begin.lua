-- needs: fence stream result
--
-- ARGV[4]: stream; ARGV[5]: name of the call. Answers with the fence of the new attempt, or 0 if it ended.
local id = ARGV[4]
local m = openStream(id)
if m and repeated(m, ARGV[5]) then return m.f end
if m and m.ended or finished(id) then return '0' end
m = m or newStream(id)
m.a = m.a + 1
record(m, 'reset', '')
local fence = int(fences(1) + 1)
redis.call('HSET', R .. 'm:' .. id, 'f', fence)
called(m, ARGV[5])
saveStream(m)
return fence
