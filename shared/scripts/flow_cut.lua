-- The parts of a flow have taken longer than they may: cancel those that live, and have the flow go on without them.
-- KEYS  1 claims  2 flow  3 RQ started  4 RQ scheduled
-- ARGV  1 run  2 execution id  3 now (ISO)  4 now in ms  5 why  6 the record of a part that has not ended  7 how many parts, then where each stands
--       (<fan>/<number>), then what is to be recorded (_lib: note)
-- -> 1 parked, 2 somebody wants the run to be cancelled: it is still yours, 0 no longer yours: nothing was recorded
-- invariant: a part that has ended keeps what it has come to; one that was cancelled here has ended so for its flow, whatever its worker says later.
-- cost: O(parts + fields)
local id, exec = ARGV[1], ARGV[2]
if redis.call('HGET', KEYS[1], id) ~= exec .. ' started' then return 0 end
local last = 7 + ARGV[7]
note(KEYS[2], ARGV, last + 1, #ARGV)
local job = read_job(id)
if redis.call('HEXISTS', job.key, 'cancelled_by') == 1 then flush(); return 2 end
cancel_parts(id, ARGV[3], tonumber(ARGV[4]), 'flow', ARGV[5])
for i = 8, last do redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[6]) end
park(job, exec, KEYS[1], KEYS[3], KEYS[4], 0)
flush()
return 1
