-- Record what a flow has come to, and the step that is about to begin: its code may begin only after the answer.
-- KEYS  1 claims  2 flow
-- ARGV  1 run  2 execution id  3 '1' something has come to its end, '0' not, then what is to be recorded (_lib: note)
-- -> 1 recorded, 2 recorded, and somebody wants the run to be cancelled, 0 no longer yours: nothing was recorded
-- invariant: only the execution that started the run records; a repeat (lost reply) changes nothing. cost: O(fields)
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] .. ' started' then return 0 end
note(KEYS[2], ARGV, 4, #ARGV)
local key = 'rq:job:' .. ARGV[1]
local h = redis.call('HMGET', key, 'cancelled_by', 'crashes')
if ARGV[3] == '1' and tonumber(h[2] or 0) > 0 then redis.call('HSET', key, 'crashes', 0) end
flush()
return h[1] and 2 or 1
