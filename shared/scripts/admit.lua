-- A batch of received packets becomes envelopes in the inbox, remembered and forgotten packet ids, dead letters and counts, in one step.
-- KEYS  1 session  2 inflight  3 inbox  4 dead  5 dead letters
-- ARGV  1 token  2 call number  3 session id  4 trigger  5 now in ms  6 dead_max
--       7 received  8 duplicate  9 invalid  10 oversized  11 retained_skipped  12 own  13 count of packet ids  14 count of dead letters
--       then per packet id: id, packed digests ('' forgets it); then the dead letters; then the envelopes
-- -> {1 applied | 0 repeat | -1 fenced | -2 an earlier call is missing, length of the inbox}
-- invariant: applied once per call number and only under the newest token; received = admitted + duplicate + invalid + oversized + retained_skipped + own.
-- cost: O(messages)
local h = redis.call('HMGET', KEYS[1], 'fence', 'call', 'epoch')
if h[1] ~= ARGV[1] then return {-1, 0} end
if tonumber(ARGV[2]) <= tonumber(h[2] or 0) then return {0, redis.call('XLEN', KEYS[3])} end
if tonumber(ARGV[2]) ~= tonumber(h[2] or 0) + 1 then return {-2, 0} end
local trigger, at = ARGV[4], 15
local ids, letters = tonumber(ARGV[13]), tonumber(ARGV[14])
local first = at + 2 * ids + letters
local count = #ARGV - first + 1
local n = redis.call('HINCRBY', KEYS[1], 'admitted', count) - count
local prefix = ARGV[3] .. '-' .. (h[3] or '0') .. '-'
for i = first, #ARGV do
  n = n + 1
  redis.call('XADD', KEYS[3], '*', 'k', prefix .. string.format('%d', n), 'e', ARGV[i])
end
for _ = 1, ids do
  if ARGV[at + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[at]) else redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
  at = at + 2
end
for i = 1, letters do
  bury(KEYS[4], KEYS[5], 'm-' .. prefix .. ARGV[1] .. '-' .. ARGV[2] .. '-' .. i, tonumber(ARGV[5]), tonumber(ARGV[6]), trigger, ARGV[at])
  at = at + 1
end
redis.call('HSET', KEYS[1], 'call', ARGV[2])
bump(trigger, 'received', tonumber(ARGV[7]))
bump(trigger, 'admitted', count)
bump(trigger, 'inbox', count)
bump(trigger, 'duplicate', tonumber(ARGV[8]))
bump(trigger, 'invalid', tonumber(ARGV[9]))
bump(trigger, 'oversized', tonumber(ARGV[10]))
bump(trigger, 'retained_skipped', tonumber(ARGV[11]))
bump(trigger, 'own', tonumber(ARGV[12]))
flush()
return {1, redis.call('XLEN', KEYS[3])}
