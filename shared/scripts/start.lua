-- Record that the code of these runs is about to begin: the caller may start them only after the answer.
-- KEYS  1 claims  2 RQ started registry  3 worker
-- ARGV  1 worker  2 now (ISO), then per run: id, execution id
-- -> {1 started | 0 no longer yours, ...}; {-1} the worker must beat first
-- invariant: only the execution that owns the claim starts it, once: a repeat (lost reply) gets 1 again. cost: O(runs)
if redis.call('EXISTS', KEYS[3]) == 0 then return {-1} end
local out = {}
for i = 3, #ARGV, 2 do
  local id, exec = ARGV[i], ARGV[i + 1]
  local claim = redis.call('HGET', KEYS[1], id)
  if claim == exec .. ' started' then
    out[#out + 1] = 1
  elseif claim ~= exec .. ' claimed' then
    out[#out + 1] = 0
  else
    local job = read_job(id)
    if job.status ~= 'queued' then -- cancelled meanwhile
      redis.call('HDEL', KEYS[1], id)
      out[#out + 1] = 0
    else
      redis.call('HSET', job.key, 'status', 'started', 'state', 'running', 'started_at', ARGV[2], 'last_heartbeat', ARGV[2],
        'worker_name', ARGV[1], 'execution', exec, 'attempts', job.attempts + 1)
      redis.call('ZADD', KEYS[2], FAR, id .. ':' .. exec)
      redis.call('HSET', KEYS[1], id, exec .. ' started')
      move(job, 'queued', 'running')
      out[#out + 1] = 1
    end
  end
end
flush()
return out
