-- Write down what came of telling somebody, or that somebody is to be told (a test).
-- KEYS  1 notices
-- ARGV  1 id  2 JSON  3 1 also if it is new
-- -> 1 | 0 it is not there any more
-- invariant: what was dropped as too old does not come back. cost: O(1)
if ARGV[3] ~= '1' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
