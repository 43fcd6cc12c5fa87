-- Forget a run that has ended, because somebody says so.
-- KEYS  1 runs  2 dead  3 dead letters  4 RQ finished  5 RQ failed  6 RQ canceled
-- ARGV  1 run id
-- -> 1 forgotten, 0 it has not ended, or goes with the flow that it is part of, -1 there is no such run
-- invariant: no cell of the identities is touched, as when retention forgets it; a repeat changes nothing. cost: O(log n + parts)
local job = read_job(ARGV[1])
if not job.status then return -1 end
if job.part or is_live(job.status, job.state) then return 0 end
for i = 4, 6 do redis.call('ZREM', KEYS[i], job.id) end
forget_run(KEYS[1], KEYS[1] .. ':' .. job.trigger, KEYS[2], KEYS[3], job.id)
flush()
return 1
