-- Cancel runs of a trigger that wait to be resumed, and no others.
-- KEYS  1 the trigger's suspended runs  2 RQ deferred  3 RQ canceled
-- ARGV  1 now (ISO)  2 now in ms  3 who discards them  4 why, then the run ids
-- -> {1 cancelled | 0 it does not wait here, ...}
-- invariant: what has been resumed meanwhile is left alone; a repeat changes nothing. cost: O(runs)
local out, cancelled = {}, {}
for i = 5, #ARGV do
  local id, done = ARGV[i], 0
  if redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('ZREM', KEYS[2], id)
    local job = read_job(id)
    if job.status == 'deferred' and job.state == 'suspended' then
      redis.call('HSET', job.key, 'status', 'canceled', 'state', 'cancelled', 'ended_at', ARGV[1], 'cancelled_by', ARGV[3], 'cancel_reason', ARGV[4])
      cancelled[#cancelled + 1] = FAR + ARGV[2] / 1000; cancelled[#cancelled + 1] = id
      move(job, 'suspended', 'cancelled')
      done = 1
    end
  end
  out[#out + 1] = done
end
many('ZADD', KEYS[3], cancelled)
flush()
return out
