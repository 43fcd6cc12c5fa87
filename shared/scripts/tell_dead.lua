-- Tell of a dead letter by a message, or not at all.
-- KEYS  1 untold
-- ARGV  1 dead letter id  2 broker ('' it is not told of)  3 trigger ('?' none)  4 message
-- -> 1 it was still to be told of, 0 not (any more)
-- invariant: told once, because the call that takes it off the list puts the message into the outbox. cost: O(untold)
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
if ARGV[2] ~= '' then send(ARGV[2], ARGV[3], ARGV[4]) end
flush()
return 1
