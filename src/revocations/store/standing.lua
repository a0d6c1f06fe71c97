-- How the store stands: {epoch, number of the last change, whether it has settled}.
-- An epoch belongs to one run of one server: after a restart, which may have lost data, and after a loss without one, there is none
-- that fits, and whoever asks first begins it.
-- KEYS: epoch, number, writing. ARGV: run of the server, a new epoch, milliseconds until an epoch has settled.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run, epoch, since = unpack(redis.call('HMGET', KEYS[1], 'run', 'epoch', 'since'))
if run ~= ARGV[1] or not epoch or not since then
  epoch, since = ARGV[2], string.format('%.0f', now)
  redis.call('HSET', KEYS[1], 'run', ARGV[1], 'epoch', epoch, 'since', since)
end
local settled = now - since >= tonumber(ARGV[3]) and redis.call('EXISTS', KEYS[3]) == 0
return {epoch, redis.call('GET', KEYS[2]) or '0', settled and 1 or 0}
