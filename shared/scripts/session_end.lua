-- A session that was left behind is over: remove what is known of it.
-- KEYS  1 session  2 inflight  3 lease  4 sessions  5 left  6 deployment
-- ARGV  1 token ('' from a person, who need not hold the lease)  2 session id
-- -> messages admitted since it was asked for; -1 when fenced, -3 when the session is not on record: a trigger has it, or nobody
-- invariant: fence, epoch and admitted stay, so that whoever held it is fenced and no idempotency key ever comes twice. A repeat
-- under the same token gets the same answer. cost: O(in flight)
local h = redis.call('HMGET', KEYS[1], 'fence', 'epoch', 'admitted', 'ended_by', 'drained')
if ARGV[1] ~= '' then
  if h[4] == ARGV[1] then return tonumber(h[5]) end
  if h[1] ~= ARGV[1] then return -1 end
end
local left = redis.call('HGET', KEYS[5], ARGV[2])
if not left then return -3 end
local drained = tonumber(h[3] or 0) - (cjson.decode(left).admitted or 0)
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('HDEL', KEYS[5], ARGV[2])
redis.call('SREM', KEYS[4], ARGV[2])
redis.call('HSET', KEYS[1], 'fence', tonumber(h[1] or 0) + 1, 'epoch', h[2] or 0, 'admitted', h[3] or 0,
  'ended_by', ARGV[1], 'drained', drained, 'ended_at', redis.call('HGET', KEYS[6], 'number') or 0)
return drained
