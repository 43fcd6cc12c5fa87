-- Note of runs that failed or were cancelled that somebody has dealt with that, or that it is not so.
-- KEYS  none
-- ARGV  1 now (ISO), '' to take the note away  2 who  3 why, then the run ids
-- -> {1 noted | 0 it is no such run, ...}
-- invariant: nothing but the note is changed, and no run is made; a re-drive takes the note away. cost: O(runs)
local out = {}
for i = 4, #ARGV do
  local job, done = read_job(ARGV[i]), 0
  local is_bad = job.state == 'failed' or job.state == 'lost' or job.state == 'interrupted' or job.state == 'cancelled'
  if job.status and is_bad and not is_live(job.status, job.state) then
    done = 1
    if ARGV[1] == '' then redis.call('HDEL', job.key, 'resolved_at', 'resolved_by', 'resolved_note')
    else redis.call('HSET', job.key, 'resolved_at', ARGV[1], 'resolved_by', ARGV[2], 'resolved_note', ARGV[3]) end
  end
  out[#out + 1] = done
end
return out
