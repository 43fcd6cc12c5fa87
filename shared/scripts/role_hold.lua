-- Take, or keep, a task that one process at a time may do.
-- KEYS  1 role
-- ARGV  1 holder (unique per process start)  2 time in ms after which it is free again
-- -> 1 it is ours, 0 somebody else has it
-- invariant: at most one holder at any moment, by Redis' clock. cost: O(1)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
