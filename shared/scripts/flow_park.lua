-- Let go of a flow that has to wait: it is queued again when its time has come.
-- KEYS  1 claims  2 flow  3 RQ started  4 RQ scheduled
-- ARGV  1 run  2 execution id  3 ms from now  4 the fan whose parts it waits for ('' none): if all have ended, it does not wait
--       then what is to be recorded (_lib: note)
-- -> 1 parked, 2 somebody wants the run to be cancelled: it is still yours, 0 no longer yours: nothing was recorded
-- invariant: only the execution that started the run lets go of it, once; a start that ended so is not counted as an attempt. cost: O(fields + log n)
local id, exec = ARGV[1], ARGV[2]
if redis.call('HGET', KEYS[1], id) ~= exec .. ' started' then return 0 end
note(KEYS[2], ARGV, 5, #ARGV)
local job = read_job(id)
if redis.call('HEXISTS', job.key, 'cancelled_by') == 1 then flush(); return 2 end
local over = ARGV[4] ~= '' and redis.call('HGET', KEYS[2], ARGV[4] .. '!left') == '0'
park(job, exec, KEYS[1], KEYS[3], KEYS[4], over and 0 or tonumber(ARGV[3]))
flush()
return 1
