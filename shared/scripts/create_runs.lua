-- Runs that no message made become RQ jobs, outside the identities.
-- KEYS  1 RQ queue  2 RQ queues  3 runs  4 RQ scheduled
-- ARGV  1 now (ISO)  2 now in us  3 RQ queue's name
--       then per run: id, data, description, time-out in s, source, parent ('' none), root ('' none),
--       trigger that it is listed under ('' none), when it is due (epoch s; '' now), who has asked for it ('' not known)
-- -> how many were created; one whose id is there already is left as it is
-- invariant: a run is created once, however often the call is repeated (lost reply). cost: O(runs)
local queued, made = {}, 0
for i = 4, #ARGV, 10 do
  local id, parent, root, trigger = ARGV[i], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
  local key, score, due = 'rq:job:' .. id, ARGV[2] + made, ARGV[i + 8]
  local state = due == '' and 'queued' or 'scheduled'
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'created_at', ARGV[1], 'enqueued_at', ARGV[1], 'origin', ARGV[3], 'data', ARGV[i + 1],
      'description', ARGV[i + 2], 'timeout', ARGV[i + 3], 'status', state, 'state', state, 'source', ARGV[i + 4])
    if ARGV[i + 9] ~= '' then redis.call('HSET', key, 'created_by', ARGV[i + 9]) end
    redis.call('ZADD', KEYS[3], score, id)
    if trigger ~= '' then
      redis.call('HSET', key, 'trigger', trigger)
      redis.call('ZADD', KEYS[3] .. ':' .. trigger, score, id)
    end
    if parent ~= '' then redis.call('ZADD', 'headrace:children:' .. parent, score, id) end
    if root ~= '' and root ~= parent then redis.call('ZADD', 'headrace:children:' .. root, score, id) end
    if due == '' then queued[#queued + 1] = id else redis.call('ZADD', KEYS[4], due, id) end
    made = made + 1
  end
end
for from = 1, #queued, 5000 do redis.call('RPUSH', KEYS[1], unpack(queued, from, math.min(from + 4999, #queued))) end
if #queued > 0 then redis.call('SADD', KEYS[2], KEYS[1]) end
return made
