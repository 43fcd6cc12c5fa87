-- Make a deployment current: new definitions, the table of what is deployed and the record of it, in one step.
-- KEYS  1 deployment  2 deployed  3 definitions  4 deployments
-- ARGV  1 the number that the plan was made against  2 record (JSON)  3 count of definitions  4 count of changed entries
--       then per definition: version, JSON; per changed entry: <kind>:<path>, version; then the <kind>:<path> of deleted entries
-- -> the new number; -1 when somebody else has deployed since
-- invariant: optimistic: a plan applies only to the state that it was made against; definitions are immutable. cost: O(changes)
local number = tonumber(redis.call('HGET', KEYS[1], 'number') or 0)
if number ~= tonumber(ARGV[1]) then return -1 end
local i = 5
for _ = 1, tonumber(ARGV[3]) do
  redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1])
  i = i + 2
end
for _ = 1, tonumber(ARGV[4]) do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  i = i + 2
end
for j = i, #ARGV do redis.call('HDEL', KEYS[2], ARGV[j]) end
redis.call('LPUSH', KEYS[4], ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'number', 1)
