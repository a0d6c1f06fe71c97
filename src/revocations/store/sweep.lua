-- Forgets some lines that ended long enough ago; returns how many.
-- KEYS: bodies, ends. ARGV: milliseconds for which a line is kept after its end, how many to forget at most.
local time = redis.call('TIME')
local past = time[1] * 1000 - tonumber(ARGV[1])
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', past), 'LIMIT', 0, ARGV[2])
if #ids > 0 then
  redis.call('HDEL', KEYS[1], unpack(ids))
  redis.call('ZREM', KEYS[2], unpack(ids))
end
return #ids
