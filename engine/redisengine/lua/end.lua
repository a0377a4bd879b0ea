-- needs: stream
--
-- ARGV from 4: stream, fence, payload, time to live, name of the call. Answers with 1 if that is
-- superseded.
local m = openStream(ARGV[4])
if m and repeated(m, ARGV[8]) then return 0 end
if not m or m.f ~= ARGV[5] or m.ended or redis.call('HEXISTS', R .. 'run', ARGV[4]) == 1 then return 1 end
called(m, ARGV[8])
endStream(m, ARGV[6], tonumber(ARGV[7]))
return 0
