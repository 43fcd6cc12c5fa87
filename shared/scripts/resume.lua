-- Queue runs of a trigger that wait to be resumed, in the order of the call.
-- KEYS  1 the trigger's suspended runs  2 RQ deferred  3 RQ queue  4 RQ queues
-- ARGV  1 now (ISO), then per run: id, its data with another version of the runnable ('' as it is), seconds that this one may take
-- -> {1 queued | 0 it does not wait here, ...}
-- invariant: a run is queued by the call that removes it from the set, so once, however often and by however many it is asked for. cost: O(runs)
local out, queued = {}, {}
for i = 2, #ARGV, 3 do
  local id, done = ARGV[i], 0
  if redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('ZREM', KEYS[2], id)
    local job = read_job(id)
    if job.status == 'deferred' and job.state == 'suspended' then
      redis.call('HSET', job.key, 'status', 'queued', 'state', 'queued', 'enqueued_at', ARGV[1])
      redis.call('HDEL', job.key, 'expires') -- whoever releases it wants it to run
      if ARGV[i + 1] ~= '' then redis.call('HSET', job.key, 'data', ARGV[i + 1], 'timeout', ARGV[i + 2]) end
      move(job, 'suspended', 'queued')
      queued[#queued + 1] = id
      done = 1
    end
  end
  out[#out + 1] = done
end
many('RPUSH', KEYS[3], queued)
if #queued > 0 then redis.call('SADD', KEYS[4], KEYS[3]) end
flush()
return out
