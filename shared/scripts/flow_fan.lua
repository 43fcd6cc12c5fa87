-- Make runs of the parts of a flow that are carried out side by side, and let go of the flow until they have ended.
-- KEYS  1 claims  2 flow  3 RQ started  4 RQ scheduled  5 RQ queue  6 RQ queues
-- ARGV  1 run  2 execution id  3 now (ISO)  4 now in us  5 ms until the flow looks for itself  6 the fan  7 queue these many at once  8 beginning of the
--       parts' ids  9 RQ queue's name  10 description  11 seconds that a part may take  12 source  13 length of what is to
--       be recorded, then that (_lib: note), then per part: its number in the fan, data
-- -> 1 parked, 2 somebody wants the run to be cancelled: it is still yours and nothing was made, 0 no longer yours
-- invariant: a part is one run, because its id is fixed; its end takes it off `<fan>!left`, queues the next that waits, and wakes the flow after the last:
-- all in the step that ends it (_lib: tell_parent). What has begun goes before what has not: parts, in their order, stand at the head of the queue, or all
-- flows of a burst would begin before any could end. cost: O(parts)
local id, exec, fan, base = ARGV[1], ARGV[2], ARGV[6], ARGV[8]
if redis.call('HGET', KEYS[1], id) ~= exec .. ' started' then return 0 end
local job = read_job(id)
if redis.call('HEXISTS', job.key, 'cancelled_by') == 1 then return 2 end
local from = 14 + ARGV[13]
note(KEYS[2], ARGV, 14, from - 1)
local total = (#ARGV - from + 1) / 2
local at_once = math.min(ARGV[7], total)
redis.call('HSET', KEYS[2], fan .. '!left', total, fan .. '!next', at_once, fan .. '!total', total, fan .. '!base', base)
local queued = {}
for position = total, 1, -1 do
  local i = from + 2 * (position - 1)
  local child = base .. position
  local now = position <= at_once
  redis.call('HSET', 'rq:job:' .. child, 'created_at', ARGV[3], 'enqueued_at', ARGV[3], 'origin', ARGV[9], 'data', ARGV[i + 1], 'description', ARGV[10],
    'timeout', ARGV[11], 'status', now and 'queued' or 'scheduled', 'state', now and 'queued' or 'scheduled', 'source', ARGV[12],
    'parent', id, 'part', fan .. '/' .. ARGV[i], 'position', position)
  redis.call('ZADD', 'headrace:children:' .. id, ARGV[4] + position, child)
  if now then queued[#queued + 1] = child else redis.call('ZADD', KEYS[4], FAR + position, child) end
end
many('LPUSH', KEYS[5], queued)
redis.call('SADD', KEYS[6], KEYS[5])
park(job, exec, KEYS[1], KEYS[3], KEYS[4], tonumber(ARGV[5]))
flush()
return 1
