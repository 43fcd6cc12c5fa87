-- The broker has no session of ours: begin an epoch, forget the packet ids and what was subscribed.
-- KEYS  1 session  2 inflight  3 left  4 sessions  5 session of the one left behind  6 its inflight
-- ARGV  1 token  2 call number  3 protocol (4 or 5)  4 version of the broker
--       5 '', or the id of the session that is left at another broker  6 its record (JSON)
-- -> the epoch; -1 when fenced, -2 when an earlier call is missing
-- invariant: applied once per call number: a repeat gets the same epoch. What was known of a session at another broker moves, as it
-- is, to an id of its own. cost: O(in flight)
local h = redis.call('HMGET', KEYS[1], 'fence', 'call', 'epoch', 'subscriptions', 'protocol', 'trigger', 'client_id', 'broker', 'limits')
if h[1] ~= ARGV[1] then return -1 end
if tonumber(ARGV[2]) <= tonumber(h[2] or 0) then return tonumber(h[3]) end
if tonumber(ARGV[2]) ~= tonumber(h[2] or 0) + 1 then return -2 end
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[5], 'epoch', h[3] or 0, 'subscriptions', h[4] or '', 'protocol', h[5] or '', 'trigger', h[6] or '',
    'client_id', h[7] or '', 'broker', h[8] or '', 'limits', h[9] or '')
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[6]) end
  redis.call('SADD', KEYS[4], ARGV[5])
  redis.call('HSET', KEYS[3], ARGV[5], ARGV[6])
end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'subscriptions')
redis.call('HSET', KEYS[1], 'call', ARGV[2], 'protocol', ARGV[3], 'broker', ARGV[4])
return redis.call('HINCRBY', KEYS[1], 'epoch', 1)
