-- Forget the oldest ended runs of a trigger: those over the count that it may keep, and those over the age. One small step per call.
-- KEYS  1 runs of the trigger  2 runs  3 dead  4 dead letters  5 RQ finished  6 RQ failed  7 RQ canceled
-- ARGV  1 keep at most this many ('' any number)  2 skip this many of the oldest  3 look at this many at most
--       4 forget those that ended before (ISO, '' never)  5 the same in us
-- -> {how many were forgotten, how many were passed over because they live or have ended lately, 1 there may be more to do | 0}
-- invariant: only runs that have ended are forgotten; no cell of the identities is touched: retention does not lower them. cost: O(step * log n)
local excess = ARGV[1] == '' and 0 or redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1])
local aged_us = ARGV[4] == '' and 0 or tonumber(ARGV[5])
local forgotten, passed, bytes = 0, 0, 0
local found = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[2] + ARGV[3] - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  local id, may_be_old = found[i], tonumber(found[i + 1]) < aged_us -- no run ends before it was queued
  if forgotten >= excess and not may_be_old then break end
  local status, state, ended_at = unpack(redis.call('HMGET', 'rq:job:' .. id, 'status', 'state', 'ended_at'))
  local is_old = may_be_old and (ended_at or '') < ARGV[4]
  if status and is_live(status, state or '') or forgotten >= excess and not is_old then
    passed = passed + 1
  else
    bytes = bytes + run_bytes(id)
    for registry = 5, 7 do redis.call('ZREM', KEYS[registry], id) end
    forget_run(KEYS[2], KEYS[1], KEYS[3], KEYS[4], id)
    forgotten = forgotten + 1
    if bytes >= STEP_BYTES then break end
  end
end
flush()
return {forgotten, passed, (bytes >= STEP_BYTES or forgotten + passed == tonumber(ARGV[3])) and 1 or 0}
