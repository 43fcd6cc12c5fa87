-- Record that the code of these runs is about to begin: the caller may start them only after the answer.
-- KEYS  1 claims  2 RQ started registry  3 worker
-- ARGV  1 worker  2 now (ISO), then per run: id, execution id, the trigger that counts it ('-' none, '' to be looked up)
-- -> {1 started | 0 no longer yours, ...}; {-1} the worker must beat first
-- invariant: only the execution that owns the claim starts it, once: a repeat (lost reply) gets 1 again. cost: O(runs)
if redis.call('EXISTS', KEYS[3]) == 0 then return {-1} end
local out, started, running, cancelled, ids = {}, {}, {}, {}, {}
for i = 3, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
for index, claim in ipairs(pick(KEYS[1], ids)) do
  local id, exec, counted = ids[index], ARGV[3 * index + 1], ARGV[3 * index + 2]
  out[index] = 0
  if claim == exec .. ' started' then
    out[index] = 1
  elseif claim == exec .. ' claimed' then
    local key = 'rq:job:' .. id
    local h = redis.call('HMGET', key, 'status', 'attempts')
    if h[1] ~= 'queued' then -- cancelled meanwhile
      cancelled[#cancelled + 1] = id
    else
      redis.call('HSET', key, 'status', 'started', 'state', 'running', 'started_at', ARGV[2], 'worker_name', ARGV[1],
        'execution', exec, 'attempts', (h[2] or 0) + 1)
      local n = #running
      running[n + 1] = FAR; running[n + 2] = id .. ':' .. exec
      started[n + 1] = id; started[n + 2] = exec .. ' started'
      if counted == '' then counted = counted_by(key) end
      shift(counted, 'queued', 'running')
      out[index] = 1
    end
  end
end
many('ZADD', KEYS[2], running)
many('HSET', KEYS[1], started)
many('HDEL', KEYS[1], cancelled)
flush()
return out
