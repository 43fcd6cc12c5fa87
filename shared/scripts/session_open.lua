-- Before each CONNECT: number the connection and read back what the session must not forget.
-- KEYS  1 session  2 inflight  3 inbox
-- ARGV  1 token  2 trigger  3 client id  4 consumer group  5 number of the deployment that the caller knows (0: any)
-- -> {connection, epoch, protocol, subscriptions, last call, {packet id, packed, ...}, broker, version}; {-1} when fenced,
--    or when the session was ended under a deployment that the caller has yet to hear of
-- invariant: connection numbers never repeat; the group exists, from the first entry on, before anything is admitted. cost: O(in flight)
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return {-1} end
local ended_at = redis.call('HGET', KEYS[1], 'ended_at')
if ended_at and ARGV[5] ~= '0' and tonumber(ended_at) >= tonumber(ARGV[5]) then return {-1} end
redis.pcall('XGROUP', 'CREATE', KEYS[3], ARGV[4], '0', 'MKSTREAM')
local connection = redis.call('HINCRBY', KEYS[1], 'connection', 1)
redis.call('HSET', KEYS[1], 'trigger', ARGV[2], 'client_id', ARGV[3])
local h = redis.call('HMGET', KEYS[1], 'epoch', 'protocol', 'subscriptions', 'call', 'broker', 'version')
return {connection, tonumber(h[1] or 0), tonumber(h[2] or 0), h[3] or '', tonumber(h[4] or 0), redis.call('HGETALL', KEYS[2]),
  h[5] or '', h[6] or ''}
