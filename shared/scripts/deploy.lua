-- Make a deployment current: new definitions, the table of what is deployed and the record of it, in one step.
-- KEYS  1 deployment  2 deployed  3 definitions  4 deployments  5 left  6 newest change of each  7 oldest change of each
-- ARGV  1 the number that the plan was made against  2 record (JSON)  3 count of definitions  4 count of changed entries
--       5 how many records are kept  6 count of sessions taken up again  7 count of sessions left behind
--       8 who, when and why (JSON)  9 '1': the record takes the place of the newest, whose values it holds as well
--       then per session taken up: id, its record in left (JSON); per session left: id, record; per definition: version, JSON; per changed entry: <kind>:<path>, version; then the <kind>:<path> of deleted entries
-- -> the new number; -1 when somebody else has deployed since, or a session that was left is not as it was
-- invariant: optimistic: a plan applies only to the state that it was made against; definitions are immutable. A session that no
-- process has ever held is not put on record. cost: O(changes)
local number = tonumber(redis.call('HGET', KEYS[1], 'number') or 0)
if number ~= tonumber(ARGV[1]) then return -1 end
local i = 10
for _ = 1, tonumber(ARGV[6]) do
  if redis.call('HGET', KEYS[5], ARGV[i]) ~= ARGV[i + 1] then return -1 end
  i = i + 2
end
for j = 10, i - 2, 2 do redis.call('HDEL', KEYS[5], ARGV[j]) end
for _ = 1, tonumber(ARGV[7]) do
  if redis.call('EXISTS', 'headrace:session:' .. ARGV[i]) == 1 then redis.call('HSET', KEYS[5], ARGV[i], ARGV[i + 1]) end
  i = i + 2
end
for _ = 1, tonumber(ARGV[3]) do
  redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1])
  i = i + 2
end
for _ = 1, tonumber(ARGV[4]) do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('HSET', KEYS[6], ARGV[i], ARGV[8])
  redis.call('HSETNX', KEYS[7], ARGV[i], ARGV[8])
  i = i + 2
end
for j = i, #ARGV do
  for _, key in ipairs({KEYS[2], KEYS[6], KEYS[7]}) do redis.call('HDEL', key, ARGV[j]) end
end
if ARGV[9] == '1' then redis.call('LPOP', KEYS[4]) end
redis.call('LPUSH', KEYS[4], ARGV[2])
redis.call('LTRIM', KEYS[4], 0, ARGV[5] - 1)
return redis.call('HINCRBY', KEYS[1], 'number', 1)
