-- Record that the code of these runs is about to begin: the caller may start them only after the answer.
-- KEYS  1 claims  2 RQ started registry  3 worker
-- ARGV  1 worker  2 now (ISO), then per run: id, execution id
-- -> {1 started | 0 no longer yours, ...}; {-1} the worker must beat first
-- invariant: only the execution that owns the claim starts it, once: a repeat (lost reply) gets 1 again. cost: O(runs)
if redis.call('EXISTS', KEYS[3]) == 0 then return {-1} end
local out, started, running, cancelled = {}, {}, {}, {}
for i = 3, #ARGV, 2 do
  local id, exec = ARGV[i], ARGV[i + 1]
  local claim = redis.call('HGET', KEYS[1], id)
  local answer = 0
  if claim == exec .. ' started' then
    answer = 1
  elseif claim == exec .. ' claimed' then
    local key = 'rq:job:' .. id
    local h = redis.call('HMGET', key, 'status', 'trigger', 'source', 'attempts')
    if h[1] ~= 'queued' then -- cancelled meanwhile
      cancelled[#cancelled + 1] = id
    else
      redis.call('HSET', key, 'status', 'started', 'state', 'running', 'started_at', ARGV[2], 'last_heartbeat', ARGV[2],
        'worker_name', ARGV[1], 'execution', exec, 'attempts', (h[4] or 0) + 1)
      local n = #running
      running[n + 1] = FAR; running[n + 2] = id .. ':' .. exec
      started[n + 1] = id; started[n + 2] = exec .. ' started'
      move({trigger = h[2] or '?', source = h[3]}, 'queued', 'running')
      answer = 1
    end
  end
  out[#out + 1] = answer
end
many('ZADD', KEYS[2], running)
many('HSET', KEYS[1], started)
many('HDEL', KEYS[1], cancelled)
flush()
return out
