-- Forget the oldest ended runs: those over the count, and those over the age. One small step per call.
-- KEYS  1 an RQ registry of ended runs  2 runs  3 dead
-- ARGV  1 keep at most this many  2 ended before (epoch s)  3 at most this many per call
-- -> how many were forgotten
-- invariant: counters are not touched: retention does not lower them. cost: O(step)
local old = redis.call('ZRANGEBYSCORE', KEYS[1], FAR, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3]) -- what RQ has cancelled is below until a sweep adopts it
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[1])
local forgotten = 0
for i = 1, #old, 2 do
  local id, ended = old[i], tonumber(old[i + 1]) - FAR
  if forgotten >= excess and ended >= tonumber(ARGV[2]) then break end
  local job = redis.call('HMGET', 'rq:job:' .. id, 'trigger', 'state')
  redis.call('ZREM', KEYS[1], id)
  if job[2] ~= 'running' and job[2] ~= 'queued' then -- RQ's tools cancel what executes, and queue again what has ended
    redis.call('UNLINK', 'rq:job:' .. id, 'rq:results:' .. id, 'headrace:children:' .. id)
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
    if job[1] then redis.call('ZREM', KEYS[2] .. ':' .. job[1], id) end
  end
  forgotten = forgotten + 1
end
return forgotten
