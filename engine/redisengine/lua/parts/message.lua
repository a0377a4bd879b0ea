-- needs: head

-- idOf reads a task's id off an envelope as kombu and we write it, with the
-- correlation id first among the properties; else off the parsed text. A text
-- without one gets a name of its own.
local function idOf(e)
  -- It stands near the end, behind a brace that Python follows with a space.
  local key = string.byte(e, 9) == 32 and '"properties": {"correlation_id": "' or '"properties":{"correlation_id":"'
  local _, at = string.find(e, key, -420, true)
  if not at then _, at = string.find(e, key, 1, true) end
  if at then
    local stop = string.find(e, '"', at + 1, true)
    local id = stop and string.sub(e, at + 1, stop - 1)
    if id and id ~= '' and #id <= 255 and not string.find(id, '\\', 1, true) then return id end
  end
  local ok, m = pcall(cjson.decode, e)
  if ok and type(m) == 'table' then
    local p, h = m.properties, m.headers
    local id = type(p) == 'table' and p.correlation_id
    if type(id) ~= 'string' or id == '' then id = type(h) == 'table' and h.id end
    if type(id) == 'string' and id ~= '' and #id <= 255 then return id end
  end
  return '?' .. redis.sha1hex(e)
end
