-- needs: ending result
--
-- ARGV from 4: id, status, record and time to live of each final state. Answers
-- with 1 for each that has one already.
local answers = {}
for i = 4, #ARGV, 4 do
  local id = ARGV[i]
  if finished(id) then
    answers[#answers + 1] = 1
  else
    finish(id, nil, ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]))
    answers[#answers + 1] = 0
  end
end
return answers
