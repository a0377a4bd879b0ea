-- needs: message shelf

local SEP = '\6\22'
local STEPS = {[0] = '', SEP .. '3', SEP .. '6', SEP .. '9'}

local function listOf(queue, step) return P .. queue .. STEPS[tonumber(step)] end

-- delay hides a message until its time, where a Go worker will look for it;
-- else it goes into its queue as Celery sends it, with its eta.
local function delay(queue, step, at, e)
  local key = R .. 'delayed:' .. queue
  redis.call('ZADD', key, at, step .. e)
  local due = redis.call('ZSCORE', R .. 'due', queue)
  if not due or tonumber(due) > at then
    redis.call('ZADD', R .. 'due', at, queue)
    redis.call('PUBLISH', R .. 'due', int(at))
  end
end

local function push(lists, queue, step, e)
  local key = listOf(queue, step)
  local list = lists[key]
  if not list then
    list = {queue = queue, step = step}
    lists[key] = list
    lists[#lists + 1] = key
  end
  list[#list + 1] = e
end

-- place puts up to a thousand messages into a list. Those for a key that is no
-- list are dead letters: a script that fails here has done half of its work.
local function place(command, queue, step, list, i, j)
  local res = redis.pcall(command, listOf(queue, step), unpack(list, i, j))
  if type(res) ~= 'table' or not res.err then return end
  for k = i, j do
    shelve('dead', idOf(list[k]), {step = step, deliveries = 0, attempt = 0, queue = queue}, 'its queue cannot be written: ' .. res.err, list[k])
  end
end

local function flush(lists, command)
  for _, key in ipairs(lists) do
    local list = lists[key]
    for i = 1, #list, 1000 do place(command, list.queue, list.step, list, i, math.min(i + 999, #list)) end
  end
end
