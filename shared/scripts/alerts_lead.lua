-- Be the one process that looks after alerts, or hear that another one is; or give it up.
-- KEYS  1 lease
-- ARGV  1 process (unique per start)  2 lease time in ms (0: give it up)
-- -> 1 it is this process | 0
-- invariant: one holder at a time. What a former one still does is fenced by alerts_record. cost: O(1)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
