-- needs: head
--
-- ARGV[4]: stream; ARGV[5]: 1 if it is a task's and its result goes with it.
local id = ARGV[4]
redis.call('DEL', R .. 's:' .. id, R .. 'm:' .. id)
if ARGV[5] == '1' then
  onResults()
  redis.call('DEL', T .. id)
  onBroker()
end
return 0
