-- Takes a token from each of the buckets KEYS, or from none, by the server's clock. ARGV: what to do (`take`; `look`, as if a token were
-- taken; `give` one back; `read`), then for each bucket the nanoseconds between two tokens, and from empty to full.
-- A bucket is the moment in which it will be full, in microseconds since 2025, so that a double keeps their fractions; it is there until then.
-- Answers with the place of the emptiest bucket that has no token (0: all have one), and for each bucket in how many microseconds it is full.
local time = redis.call('TIME')
local now = (time[1] - 1735689600) * 1000000 + time[2]
local what = ARGV[1]
local debts, answer, longest = {}, { 0 }, 0

for i = 1, #KEYS do
  local interval, window = ARGV[2 * i] / 1000, ARGV[2 * i + 1] / 1000
  local debt = math.min(math.max(tonumber(redis.call('GET', KEYS[i]) or now) - now, 0), window)
  if what == 'give' then
    debt = math.max(debt - interval, 0)
  elseif what ~= 'read' then
    -- Half a microsecond for what a double cannot hold.
    local wait = debt + interval - window
    if wait <= 0.5 then
      debt = debt + interval
    elseif wait > longest then
      answer[1], longest = i, wait
    end
  end
  debts[i] = debt
end

local all = answer[1] == 0
for i = 1, #KEYS do
  -- What is told to wait for must be enough.
  answer[i + 1] = all and math.floor(debts[i]) or math.ceil(debts[i])
  if all and what == 'take' or what == 'give' then
    if debts[i] > 0 then
      redis.call('SET', KEYS[i], string.format('%.3f', now + debts[i]), 'PX', math.ceil(debts[i] / 1000) + 1)
    else
      redis.call('DEL', KEYS[i])
    end
  end
end
return answer
