-- Hold on to a lease: also one that has expired, as long as nobody has taken it since.
-- KEYS  1 lease  2 session
-- ARGV  1 token  2 holder  3 lease time in ms
-- -> 1 renewed, -1 lost
-- invariant: only the newest token can renew. cost: O(1)
if redis.call('HGET', KEYS[2], 'fence') ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
