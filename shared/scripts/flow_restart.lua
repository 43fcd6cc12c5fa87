-- A new run of a flow that begins with what another has recorded.
-- KEYS  1 RQ queue  2 RQ queues  3 runs  4 the new run's flow
-- ARGV  1 now (ISO)  2 now in us  3 RQ queue's name  4 run  5 data  6 description  7 time-out in s  8 source  9 parent  10 the trigger that it is listed
--       under ('' none)  11 who has asked for it ('' not known), then field, value, ... that it begins with
-- -> 1 created, 0 it was there already
-- invariant: it is created once, together with what it begins with. cost: O(fields)
local id, key = ARGV[4], 'rq:job:' .. ARGV[4]
if redis.call('EXISTS', key) == 1 then return 0 end
redis.call('HSET', key, 'created_at', ARGV[1], 'enqueued_at', ARGV[1], 'origin', ARGV[3], 'data', ARGV[5], 'description', ARGV[6], 'timeout', ARGV[7],
  'status', 'queued', 'state', 'queued', 'source', ARGV[8], 'parent', ARGV[9])
if ARGV[11] ~= '' then redis.call('HSET', key, 'created_by', ARGV[11]) end
put(KEYS[4], ARGV, 12, #ARGV)
redis.call('ZADD', KEYS[3], ARGV[2], id)
redis.call('ZADD', 'headrace:children:' .. ARGV[9], ARGV[2], id)
if ARGV[10] ~= '' then
  redis.call('HSET', key, 'trigger', ARGV[10])
  redis.call('ZADD', KEYS[3] .. ':' .. ARGV[10], ARGV[2], id)
end
redis.call('RPUSH', KEYS[1], id)
redis.call('SADD', KEYS[2], KEYS[1])
return 1
