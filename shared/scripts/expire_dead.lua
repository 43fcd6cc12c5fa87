-- Take the oldest dead letters off the list: those over the count, and those over the age. One small step per call.
-- KEYS  1 dead  2 dead letters
-- ARGV  1 keep at most this many  2 buried before (epoch ms)  3 at most this many per call
-- -> how many were dropped
-- invariant: each is counted once, in `dead_dropped` of its trigger. cost: O(step * log n)
local old = redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1, 'WITHSCORES')
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1])
local dropped = 0
for i = 1, #old, 2 do
  if dropped >= excess and tonumber(old[i + 1]) >= tonumber(ARGV[2]) then break end
  dropped = dropped + drop_dead(KEYS[1], KEYS[2], old[i])
end
flush()
return dropped
