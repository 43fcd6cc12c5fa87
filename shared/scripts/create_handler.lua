-- The run of an error handler, for a run that has ended badly and waits for it.
-- KEYS  1 handlers  2 RQ queue  3 RQ queues  4 runs
-- ARGV  1 now (ISO)  2 now in us  3 RQ queue's name  4 the run that has ended  5 the handler's run ('' there is none: only take the other off the list)
--       6 data  7 description  8 time-out in s  9 source
-- -> 1 created, 0 not: it was created before, or the run no longer counts as ended badly
-- invariant: a run has one error handler's run in its life, because its id is fixed; it has no handler itself. cost: O(runs that wait)
local parent, id = read_job(ARGV[4]), ARGV[5]
local key = 'rq:job:' .. id
if redis.call('LREM', KEYS[1], 0, parent.id) == 0 or id == '' then return 0 end
if parent.status ~= 'failed' or redis.call('EXISTS', key) == 1 then return 0 end
redis.call('HSET', key, 'created_at', ARGV[1], 'enqueued_at', ARGV[1], 'origin', ARGV[3], 'data', ARGV[6], 'description', ARGV[7],
  'timeout', ARGV[8], 'status', 'queued', 'state', 'queued', 'source', ARGV[9], 'parent', parent.id)
redis.call('ZADD', KEYS[4], ARGV[2], id)
redis.call('ZADD', 'headrace:children:' .. parent.id, ARGV[2], id)
redis.call('RPUSH', KEYS[2], id)
redis.call('SADD', KEYS[3], KEYS[2])
return 1
