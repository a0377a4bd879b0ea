-- needs: claim
--
-- ARGV from 4: owner, lease in ms, and for each delivery its id, claim, fence
-- and epoch. Answers with 0, 1 for superseded, 2 for revoked.
local owner = ARGV[4]
redis.call('ZADD', R .. 'live', now + ARGV[5], owner)
local ids, answers = {}, {}
for i = 6, #ARGV, 4 do ids[#ids + 1] = ARGV[i] end
if #ids == 0 then return answers end
local epoch = redis.call('GET', R .. 'epoch')
for k, claim in ipairs(redis.call('HMGET', R .. 'run', unpack(ids))) do
  local i = 2 + 4 * k
  if claim == ARGV[i + 1] then
    answers[k] = 0
  elseif claim then
    local c = readClaim(claim)
    local ours = c and c.owner ~= '' and c.fence == ARGV[i + 2]
    answers[k] = not ours and 1 or flagged(c, 'r') and 2 or 0
  else
    answers[k] = ARGV[i + 3] == epoch and 1 or 0 -- Redis lost its data: nobody else has it
  end
end
return answers
