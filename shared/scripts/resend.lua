-- Put a message that could not be published back into the outbox of its broker.
-- KEYS  1 outbox  2 outboxes  3 dead  4 dead letters
-- ARGV  1 dead letter id  2 broker  3 trigger ('?' none)  4 message
-- -> 1 in the outbox, 0 there is no such dead letter (any more)
-- invariant: asked for twice, it is put back once; it leaves the cell that counted it, so that the books balance. cost: O(log n)
if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('HDEL', 'headrace:dead:triggers', ARGV[1])
redis.call('XADD', KEYS[1], '*', 'm', ARGV[4])
redis.call('SADD', KEYS[2], ARGV[2])
bump(ARGV[3], 'unsent', -1)
bump(ARGV[3], 'outbox', 1)
flush()
return 1
