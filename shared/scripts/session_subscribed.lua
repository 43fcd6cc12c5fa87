-- Remember what the broker granted (SUBACK), so that the next connection knows whether to subscribe again.
-- KEYS  1 session
-- ARGV  1 token  2 call number  3 granted (JSON)
-- -> 1 stored, 0 repeat, -1 fenced | -2 an earlier call is missing
-- invariant: applied once per call number. cost: O(1)
local h = redis.call('HMGET', KEYS[1], 'fence', 'call')
if h[1] ~= ARGV[1] then return -1 end
if tonumber(ARGV[2]) <= tonumber(h[2] or 0) then return 0 end
if tonumber(ARGV[2]) ~= tonumber(h[2] or 0) + 1 then return -2 end
redis.call('HSET', KEYS[1], 'call', ARGV[2], 'subscriptions', ARGV[3])
return 1
