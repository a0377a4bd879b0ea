-- Stands before every script. KEYS[1] is the prefix of our keys, which is a key
-- of the slot they are all in; ARGV[1] that of results; ARGV[2] and ARGV[3] are
-- the databases of results and broker where they differ.
local R, T = KEYS[1], ARGV[1]
local P = string.sub(R, 1, -9) -- without "rhubarb:"
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Numbers become text with all their digits.
local function int(n) return string.format('%.0f', n) end

local function onResults() if ARGV[2] ~= '' then redis.call('SELECT', ARGV[2]) end end
local function onBroker() if ARGV[3] ~= '' then redis.call('SELECT', ARGV[3]) end end
