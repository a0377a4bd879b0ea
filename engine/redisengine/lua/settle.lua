-- needs: claim message ending memory shelf send
--
-- ARGV from 4: owner; for each settlement: id, fence, epoch, verdict, status or
-- "" for none, record, time to live, reason, number of follow-ups, and six for
-- each of those as publish takes them. Verdicts: d done, r return, b bury, p
-- park, o orphaned as if its owner had died, w wait until the time in place of the time to live. Answers with 1 for
-- each that is superseded.
local owner = ARGV[4]
local answers, done, memory, back, follow = {}, {}, {}, {}, {}
local epoch = redis.call('GET', R .. 'epoch')

-- lost makes up the claim of a message that Redis has forgotten with all its
-- data: nobody else can have it.
local function lost(s)
  if s.epoch == epoch or finished(s.id) then return nil end
  return {fence = s.fence, attempt = 1, deliveries = 1, flags = '', owner = owner, step = 0, taken = now, queue = ''}
end

local function envelope(s, c) return redis.call('HGET', R .. 'held:' .. c.owner, s.id) end

-- late finds the message of a lease that is over, of which nobody has made a
-- claim since, and takes it out of its list.
local function late(s, c)
  local list = listOf(c.queue, c.step)
  for _, e in ipairs(redis.call('LRANGE', list, -1000, -1)) do
    if idOf(e) == s.id and redis.call('LREM', list, -1, e) == 1 then
      c.owner = owner
      redis.call('HSET', R .. 'held:' .. owner, s.id, e)
      return true
    end
  end
  return false
end

-- giveBack frees a claim that can settle nothing more.
local function giveBack(id, c)
  c.fence = '0'
  free(id, c)
end

local verdicts = {}

function verdicts.d(s, c)
  if s.status ~= '' and not FINAL[s.status] then
    if flagged(c, 'r') then
      stopped(s.id, c)
      s.follow = {}
      return
    end
    keepState(s.id, s.status, s.rec, s.ttl)
    local m = streamOf(s.id, c)
    record(m, 'state', s.rec)
    saveStream(m)
    c.deliveries = 0
    if not flagged(c, 's') then c.flags = c.flags .. 's' end
    giveBack(s.id, c)
    return
  end
  finish(s.id, c, s.status, s.status ~= '' and s.rec, s.ttl)
  done[#done + 1] = s.id
  if c.owner ~= owner then redis.call('HDEL', R .. 'held:' .. c.owner, s.id) end
  if s.status == '' then
    memory[#memory + 1] = s.id
    memory[#memory + 1] = 'd'
  end
end

function verdicts.r(s, c)
  if flagged(c, 'r') then return stopped(s.id, c) end
  local e = envelope(s, c)
  if e then back[#back + 1] = {c.queue, c.step, e} end
  c.attempt, c.deliveries = c.attempt - 1, c.deliveries - 1
  giveBack(s.id, c)
end

function verdicts.o(s, c)
  if flagged(c, 'r') then return stopped(s.id, c) end
  local e = envelope(s, c)
  if e then back[#back + 1] = {c.queue, c.step, e} end
  free(s.id, c)
end

function verdicts.b(s, c)
  local e = envelope(s, c)
  finish(s.id, c, s.status, s.rec, s.ttl)
  if e then shelve('dead', s.id, c, s.reason, e) end
  drop(s.id, c)
end

function verdicts.p(s, c)
  local e = envelope(s, c)
  c.attempt = c.attempt - 1
  if e then shelve('parked', s.id, c, s.reason, e) end
  drop(s.id, c)
end

function verdicts.w(s, c)
  if flagged(c, 'r') then return stopped(s.id, c) end
  local e = envelope(s, c)
  if e then delay(c.queue, c.step, s.ttl, e) end
  c.attempt, c.deliveries = c.attempt - 1, c.deliveries - 1
  giveBack(s.id, c)
end

local list, ids, i = {}, {}, 5
while i <= #ARGV do
  local s = {id = ARGV[i], fence = ARGV[i + 1], epoch = ARGV[i + 2], verdict = ARGV[i + 3], status = ARGV[i + 4],
    rec = ARGV[i + 5], ttl = tonumber(ARGV[i + 6]), reason = ARGV[i + 7], follow = {}}
  local n = tonumber(ARGV[i + 8])
  i = i + 9
  for k = 1, n do
    s.follow[k] = {ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]}
    i = i + 6
  end
  list[#list + 1], ids[#ids + 1] = s, s.id
end
local claims = redis.call('HMGET', R .. 'run', unpack(ids))
local twice = {}
for k, s in ipairs(list) do
  local c = not twice[s.id] and readClaim(claims[k])
  if not c and not twice[s.id] and not claims[k] then c = lost(s) end
  if c and c.fence == s.fence and (c.owner ~= '' or late(s, c)) then
    twice[s.id] = true
    verdicts[s.verdict](s, c)
    for _, p in ipairs(s.follow) do follow[#follow + 1] = p end
    answers[k] = 0
  else
    answers[k] = 1
  end
end
if #done > 0 then
  redis.call('HDEL', R .. 'run', unpack(done))
  redis.call('HDEL', R .. 'held:' .. owner, unpack(done))
end
for k = #back, 1, -1 do place('RPUSH', back[k][1], back[k][2], {back[k][3]}, 1, 1) end
remember(memory)
publish(follow)
return answers
