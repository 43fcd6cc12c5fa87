-- Take dead letters off the list because somebody says so. A run among them stays in the history, a message is gone.
-- KEYS  1 dead  2 dead letters
-- ARGV  dead letter ids
-- -> {1 dropped | 0 there is no such dead letter (any more), ...}
-- invariant: each is counted once, in `dead_dropped` of its trigger. cost: O(ids * log n)
local out = {}
for i, id in ipairs(ARGV) do out[i] = drop_dead(KEYS[1], KEYS[2], id) end
flush()
return out
