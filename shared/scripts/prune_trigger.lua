-- Forget the oldest ended runs of a trigger that has more than it may keep. One small step per call.
-- KEYS  1 runs of the trigger  2 runs  3 dead  4 dead letters  5 RQ finished  6 RQ failed  7 RQ canceled
-- ARGV  1 keep at most this many  2 skip this many of the oldest  3 look at this many at most
-- -> {how many were forgotten, how many were passed over because they live}
-- invariant: only runs that have ended are forgotten; no cell of the identities is touched: retention does not lower them. cost: O(step * log n)
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1])
if excess <= 0 then return {0, 0} end
local forgotten, passed = 0, 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[2] + math.min(ARGV[3], excess) - 1)) do
  local status, state = unpack(redis.call('HMGET', 'rq:job:' .. id, 'status', 'state'))
  if status and is_live(status, state or '') then
    passed = passed + 1
  else
    for registry = 5, 7 do redis.call('ZREM', KEYS[registry], id) end
    forget_run(KEYS[2], KEYS[1], KEYS[3], KEYS[4], id)
    forgotten = forgotten + 1
  end
end
flush()
return {forgotten, passed}
