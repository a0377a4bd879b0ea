-- needs: send
--
-- ARGV from 4: eight for each message: id, queue, step, at, round, envelope,
-- idempotency key or "", its time to live. Answers with the id that holds the
-- key, or "".
local ps, answers = {}, {}
for i = 4, #ARGV, 8 do
  local id, key = ARGV[i], ARGV[i + 6]
  local holder = ''
  if key ~= '' then
    local was = redis.call('SET', R .. 'k:' .. key, id, 'NX', 'PX', ARGV[i + 7], 'GET')
    if was and was ~= id then holder = was end
  end
  answers[#answers + 1] = holder
  if holder == '' then ps[#ps + 1] = {id, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]} end
end
publish(ps)
return answers
