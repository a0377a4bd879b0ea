-- needs: head

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
    list = {}
    lists[key] = list
    lists[#lists + 1] = key
  end
  list[#list + 1] = e
end

local function flush(lists, command)
  for _, key in ipairs(lists) do
    local list = lists[key]
    for i = 1, #list, 1000 do redis.call(command, key, unpack(list, i, math.min(i + 999, #list))) end
  end
end
