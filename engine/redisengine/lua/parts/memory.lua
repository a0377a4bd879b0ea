-- needs: head

-- What was published or finished is remembered for two to four minutes.
local function seen(back) return R .. 'seen:' .. int(math.floor(now / 120000) - back) end

local function remember(pairs)
  if #pairs == 0 then return end
  redis.call('HSET', seen(0), unpack(pairs))
  redis.call('PEXPIRE', seen(0), 300000)
end

local function rounded(id, round) return round == '0' and id or id .. '\0' .. round end
