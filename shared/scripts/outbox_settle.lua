-- Take messages out of an outbox: the broker has acknowledged them, or they cannot be published and become dead letters.
-- KEYS  1 outbox  2 dead  3 dead letters
-- ARGV  1 now in ms  2 dead_max, then per message: entry, trigger ('?' none), dead letter id ('' it was published), dead letter
-- -> how many were still there
-- invariant: a message is counted by the call that removes it, so once, however many processes have published it. cost: O(messages)
local settled = 0
for i = 3, #ARGV, 4 do
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    local trigger, letter_id = ARGV[i + 1], ARGV[i + 2]
    bump(trigger, 'outbox', -1)
    bump(trigger, letter_id == '' and 'sent' or 'unsent', 1)
    if letter_id ~= '' then bury(KEYS[2], KEYS[3], letter_id, tonumber(ARGV[1]), tonumber(ARGV[2]), trigger, ARGV[i + 3]) end
    settled = settled + 1
  end
end
flush()
return settled
