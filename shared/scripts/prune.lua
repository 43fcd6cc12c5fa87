-- Forget the oldest ended runs: those over the count, and those over the age. One small step per call.
-- KEYS  1 an RQ registry of ended runs  2 runs  3 dead
-- ARGV  1 keep at most this many  2 ended before (epoch s)  3 at most this many per call
-- -> {how many were forgotten, 1 there may be more to do | 0}
-- invariant: no cell of the identities is touched: retention does not lower them. cost: O(step)
local old = redis.call('ZRANGEBYSCORE', KEYS[1], FAR, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3]) -- what RQ has cancelled is below until a sweep adopts it
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1])
local forgotten, bytes = 0, 0
for i = 1, #old, 2 do
  local id, ended = old[i], tonumber(old[i + 1]) - FAR
  if forgotten >= excess and ended >= tonumber(ARGV[2]) then break end
  local job = redis.call('HMGET', 'rq:job:' .. id, 'status', 'state', 'trigger')
  redis.call('ZREM', KEYS[1], id)
  if not is_live(job[1], job[2]) then -- RQ's tools cancel what executes, and queue again what has ended
    bytes = bytes + run_bytes(id)
    forget_run(KEYS[2], job[3] and KEYS[2] .. ':' .. job[3], KEYS[3], '', id)
  end
  forgotten = forgotten + 1
  if bytes >= STEP_BYTES then break end
end
flush()
return {forgotten, (bytes >= STEP_BYTES or forgotten == tonumber(ARGV[3])) and 1 or 0}
