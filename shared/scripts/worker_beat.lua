-- A worker says that it lives.
-- KEYS  1 worker  2 workers
-- ARGV  1 name  2 lease time in ms  3 its generation: how often, by its own account, it has lost touch
-- -> 1 it was known to live, 0 its lease had lapsed (or this is its first beat)
-- invariant: whoever can hold claims is in the set of workers. cost: O(1)
local alive = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
return alive
