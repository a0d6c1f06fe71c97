-- Takes a token from each of the buckets KEYS, or from none, by the server's clock. ARGV: what to do (`take`, `give` one back, `read`), then for
-- each bucket the nanoseconds between two tokens, those from empty to full, and 1, or 0 if it is only to be looked at.
-- A bucket is the moment in which it will be full, in microseconds since 2025, so that a double keeps their fractions, and the microseconds from
-- empty to full when that was written: by other numbers it is as full, as a fraction. It is there until it is full.
-- Answers with the place of the emptiest bucket that has no token (0: all have one), and for each bucket in how many microseconds it is full.
local time = redis.call('TIME')
local now = (time[1] - 1735689600) * 1000000 + time[2]
local what = ARGV[1]
local buckets, answer, longest = {}, { 0 }, 0

for i = 1, #KEYS do
  local interval, window, takes = ARGV[3 * i - 1] / 1000, ARGV[3 * i] / 1000, ARGV[3 * i + 1] == '1'
  local debt, writes = 0, false
  local found = redis.pcall('GET', KEYS[i])
  -- What somebody else has put there is no bucket; but what cannot be read must not count as a full one.
  if type(found) == 'table' and not string.find(found.err, 'WRONGTYPE', 1, true) then
    return found
  end
  local full, of = string.match(type(found) == 'string' and found or '', '^(%S+) (%S+)$')
  full, of = tonumber(full or ''), tonumber(of or '')
  if full and of and of > 0 then
    debt = math.min(math.max(full - now, 0), of)
    -- A clock that was put back, or other numbers: what is told of it must hold, so it is written.
    writes = full - now > of or of ~= window
    debt = debt * window / of
  end
  if what == 'give' then
    debt, writes = takes and math.max(debt - interval, 0) or debt, takes
  elseif what == 'take' then
    -- Half a microsecond for what a double cannot hold.
    local wait = debt + interval - window
    if wait > 0.5 and wait > longest then
      answer[1], longest = i, wait
    end
  end
  buckets[i] = { debt, window, interval, takes, writes }
end

local taken = what == 'take' and answer[1] == 0
for i = 1, #KEYS do
  local debt, window, interval, takes, writes = unpack(buckets[i])
  if taken and takes then
    debt, writes = debt + interval, true
  end
  -- What is told to wait for must be enough.
  answer[i + 1] = answer[1] == 0 and math.floor(debt) or math.ceil(debt)
  if writes and what ~= 'read' then
    if debt > 0 then
      redis.call('SET', KEYS[i], string.format('%.3f %.3f', now + debt, window), 'PX', math.ceil(debt / 1000) + 1)
    else
      redis.call('DEL', KEYS[i])
    end
  end
end
return answer
