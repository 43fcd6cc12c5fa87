-- Say what is to be done with a session that was left behind.
-- KEYS  1 left
-- ARGV  1 session id  2 its record as it was read (JSON)  3 the record that takes its place
-- -> 1 changed, 0 the record is another one now, or gone
-- invariant: optimistic; a repeat changes nothing. cost: O(1)
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known == ARGV[3] then return 1 end
if known ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
