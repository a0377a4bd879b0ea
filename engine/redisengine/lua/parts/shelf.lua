-- needs: fence

-- shelve puts a message on a shelf: step|deliveries|attempt|since|lengths of
-- queue and reason|, then queue, reason and envelope.
local function shelve(shelf, id, c, reason, e)
  redis.call('ZADD', R .. shelf, int(fences(1) + 1), id)
  redis.call('HSET', R .. shelf .. ':m', id, table.concat({c.step, c.deliveries, c.attempt, int(now), #c.queue, #reason, ''}, '|') .. c.queue .. reason .. e)
end
