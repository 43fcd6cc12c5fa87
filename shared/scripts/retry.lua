-- Re-drive a run that ended badly: it starts again under the same id and idempotency key.
-- KEYS  1 RQ queue  2 RQ failed  3 dead
-- ARGV  1 run id  2 now (ISO)  3 its data with another version of the runnable ('' as it is)  4 seconds that this one may take
-- -> 1 queued, 0 not in a state to be re-driven, -1 there is no such run
-- invariant: re-driving twice queues once. The re-drive stands outside the identities (source = redrive). cost: O(log n)
local job = read_job(ARGV[1])
if not job.status then return -1 end
if job.state ~= 'failed' and job.state ~= 'interrupted' or job.status == 'queued' then return 0 end -- queued: by RQ's own requeue
if job.part then return 0 end -- its flow has been told of its end
redis.call('HSET', job.key, 'status', 'queued', 'state', 'queued', 'source', 'redrive', 'crashes', 0, 'enqueued_at', ARGV[2], 'execution', '')
if ARGV[3] ~= '' then redis.call('HSET', job.key, 'data', ARGV[3], 'timeout', ARGV[4]) end
redis.call('HDEL', job.key, 'ended_at', 'started_at', 'began', 'retries', 'cancelled_by', 'cancel_reason', 'resolved_at', 'resolved_by', 'resolved_note')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('RPUSH', KEYS[1], ARGV[1])
go_on(job)
return 1
