-- Take the oldest dead letters off the list: those over the count, and those over the age. One small step per call.
-- KEYS  1 dead  2 dead letters
-- ARGV  1 keep at most this many  2 buried before (epoch ms)  3 at most this many per call
-- -> {how many were dropped, 1 there may be more to do | 0}
-- invariant: each is counted once, in `dead_dropped` of its trigger. cost: O(step * log n)
local old = redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1, 'WITHSCORES')
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1])
local dropped, bytes = 0, 0
for i = 1, #old, 2 do
  if dropped >= excess and tonumber(old[i + 1]) >= tonumber(ARGV[2]) then break end
  bytes = bytes + redis.call('HSTRLEN', KEYS[2], old[i])
  dropped = dropped + drop_dead(KEYS[1], KEYS[2], old[i])
  if bytes >= STEP_BYTES then break end
end
flush()
return {dropped, (bytes >= STEP_BYTES or dropped == tonumber(ARGV[3])) and 1 or 0}
