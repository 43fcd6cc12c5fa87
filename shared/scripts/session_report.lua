-- What the session says of itself (state, since, reason, ...), for status and console.
-- KEYS  1 session
-- ARGV  1 token, then field, value, ...
-- -> 1 stored, -1 fenced
-- invariant: only the holder reports. cost: O(fields)
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return -1 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
