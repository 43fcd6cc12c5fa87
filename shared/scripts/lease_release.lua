-- Give a lease back, so that another process need not wait for it to expire.
-- KEYS  1 lease  2 session
-- ARGV  1 token
-- -> 1 released, -1 it was no longer ours
-- invariant: the fencing token stays: what was written under it stays refused after the next taking. cost: O(1)
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[1] then return -1 end
redis.call('DEL', KEYS[1])
return 1
