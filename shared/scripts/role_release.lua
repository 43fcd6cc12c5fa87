-- Give a task back, so that another process need not wait until it is free.
-- KEYS  1 role
-- ARGV  1 holder
-- -> 1 released, 0 it was no longer ours
-- invariant: what somebody else has taken meanwhile stays theirs. cost: O(1)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
