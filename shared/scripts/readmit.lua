-- Put a message that never became a run back into the inbox, to be routed by what is deployed now.
-- KEYS  1 inbox  2 dead  3 dead letters
-- ARGV  1 dead letter id  2 idempotency key  3 envelope  4 trigger  5 the cell that counted it (unrouted | poisoned)
-- -> 1 in the inbox, 0 there is no such dead letter (any more)
-- invariant: asked for twice, it is put back once; it leaves the cell that counted it, so that the books balance. cost: O(log n)
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', 'headrace:dead:triggers', ARGV[1])
redis.call('XADD', KEYS[1], '*', 'k', ARGV[2], 'e', ARGV[3])
bump(ARGV[4], ARGV[5], -1)
bump(ARGV[4], 'inbox', 1)
flush()
return 1
