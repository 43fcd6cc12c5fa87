-- Take the lease of a session if nobody holds it; every taking raises the fencing token.
-- KEYS  1 lease  2 session  3 sessions
-- ARGV  1 holder (unique per process start)  2 lease time in ms  3 session id
-- -> {token, holder}: token 0 when somebody else holds it
-- invariant: session.fence only grows; a repeat by the same holder (lost reply) gets the same token. cost: O(1)
local held = redis.call('GET', KEYS[1])
if held then
  local token, holder = string.match(held, '^(%d+) (.*)$')
  if holder ~= ARGV[1] then return {0, holder} end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {tonumber(token), holder}
end
local token = redis.call('HINCRBY', KEYS[2], 'fence', 1)
redis.call('HSET', KEYS[2], 'call', 0)
redis.call('SADD', KEYS[3], ARGV[3])
redis.call('SET', KEYS[1], token .. ' ' .. ARGV[1], 'PX', ARGV[2])
return {token, ARGV[1]}
