-- Cancel a run: one that waits at once, one that is executed by telling its worker to stop it.
-- KEYS  1 RQ canceled  2 RQ scheduled  3 RQ deferred
-- ARGV  1 run id  2 now (ISO)  3 now in ms  4 who cancels it  5 why
-- -> the state that it had, '' where there is no such run
-- invariant: only a live run is changed; a repeat changes nothing. It stays in the queue's list, where a claim drops it. The parts of a flow are
-- cancelled with it. cost: O(log n + parts)
local job = read_job(ARGV[1])
if not job.status then return '' end
local state = job.state or ''
if job.status == ({queued = 'queued', scheduled = 'scheduled', suspended = 'deferred'})[state] then
  redis.call('HSET', job.key, 'status', 'canceled', 'state', 'cancelled', 'ended_at', ARGV[2], 'cancelled_by', ARGV[4], 'cancel_reason', ARGV[5])
  redis.call('ZADD', KEYS[1], FAR + ARGV[3] / 1000, job.id)
  redis.call('ZREM', KEYS[2], job.id)
  if state == 'suspended' then
    redis.call('ZREM', KEYS[3], job.id)
    redis.call('ZREM', 'headrace:suspended:' .. job.trigger, job.id)
  end
  move(job, state, 'cancelled')
  cancel_parts(job.id, ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5])
  tell_parent(job, 'cancelled', '')
  flush()
elseif state == 'running' then
  redis.call('HSET', job.key, 'cancelled_by', ARGV[4], 'cancel_reason', ARGV[5])
  local worker = redis.call('HGET', job.key, 'worker_name')
  if worker then redis.call('PUBLISH', 'rq:pubsub:' .. worker, cjson.encode({command = 'stop-job', job_id = job.id})) end
  cancel_parts(job.id, ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5])
  flush()
end
return state
