-- How the store stands: {epoch, number of the last change, whether it has settled}.
-- An epoch belongs to one run of one server: after a restart, which may have lost data, and after a loss without one, there is none
-- that fits, and whoever asks first begins it.
-- Every line has an end beside its body: bodies that are missing, and were not when this epoch began, were lost.
-- Which run it is is asked here, since in a cluster it must be the run of the server that holds the keys.
-- KEYS: epoch, number, writing, bodies, ends. ARGV: a new epoch, milliseconds until an epoch has settled.
local here = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run, epoch, since, missed = unpack(redis.call('HMGET', KEYS[1], 'run', 'epoch', 'since', 'missed'))
local missing = math.max(redis.call('ZCARD', KEYS[5]) - redis.call('HLEN', KEYS[4]), 0)
if run ~= here or not epoch or not since or missing > tonumber(missed or 0) then
  epoch, since = ARGV[1], string.format('%.0f', now)
  redis.call('HSET', KEYS[1], 'run', here, 'epoch', epoch, 'since', since)
end
if missing ~= tonumber(missed or 0) then
  redis.call('HSET', KEYS[1], 'missed', missing)
end
local settled = now - since >= tonumber(ARGV[2]) and redis.call('EXISTS', KEYS[3]) == 0
return {epoch, redis.call('GET', KEYS[2]) or '0', settled and 1 or 0}
