-- Put claimed runs that were not started back to the front of the queue (a worker that drains).
-- KEYS  1 claims  2 RQ queue
-- ARGV  per run: id, execution id
-- -> how many went back
-- invariant: only the execution that owns the claim gives it back. cost: O(runs)
local back = 0
for i = #ARGV - 1, 1, -2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] .. ' claimed' then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('LPUSH', KEYS[2], ARGV[i])
    back = back + 1
  end
end
return back
