-- Merges lines: one that is not there is added, one that is there becomes its removal (an empty body). Each change gets a number and
-- goes to the feed under it, so that a reader sees whether it missed one.
-- KEYS: bodies, ends, number, feed, writing. ARGV: how many changes the feed keeps, milliseconds for which more of a write-back
-- is to be expected (0: this is none), then id, end in milliseconds, end in microseconds and body of each line.
if ARGV[2] ~= '0' then
  redis.call('SET', KEYS[5], '1', 'PX', ARGV[2])
end
-- Numbers go on where the feed ends, should only their counter be lost: a feed takes no smaller one.
if redis.call('EXISTS', KEYS[3]) == 0 then
  local newest = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
  if newest then
    redis.call('SET', KEYS[3], string.match(newest[1], '^%d+'))
  end
end
for i = 3, #ARGV, 4 do
  local id, ends, body = ARGV[i], ARGV[i + 1], ARGV[i + 2] .. ' ' .. ARGV[i + 3]
  local there = redis.call('HGET', KEYS[1], id)
  local removes = ARGV[i + 3] == ''
  if not there or (removes and string.sub(there, -1) ~= ' ') then
    redis.call('HSET', KEYS[1], id, body)
    redis.call('ZADD', KEYS[2], ends, id)
    local number = redis.call('INCR', KEYS[3])
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[1], string.format('%.0f-1', number), id, body)
  end
end
