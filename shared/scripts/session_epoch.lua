-- The broker has no session of ours: begin an epoch, forget the packet ids and what was subscribed.
-- KEYS  1 session  2 inflight
-- ARGV  1 token  2 call number  3 protocol (4 or 5)
-- -> the epoch; -1 when fenced, -2 when an earlier call is missing
-- invariant: applied once per call number: a repeat gets the same epoch. cost: O(in flight)
local h = redis.call('HMGET', KEYS[1], 'fence', 'call', 'epoch')
if h[1] ~= ARGV[1] then return -1 end
if tonumber(ARGV[2]) <= tonumber(h[2] or 0) then return tonumber(h[3]) end
if tonumber(ARGV[2]) ~= tonumber(h[2] or 0) + 1 then return -2 end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'subscriptions')
redis.call('HSET', KEYS[1], 'call', ARGV[2], 'protocol', ARGV[3])
return redis.call('HINCRBY', KEYS[1], 'epoch', 1)
