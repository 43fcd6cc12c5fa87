-- Queue the runs whose time has come.
-- KEYS  1 RQ scheduled  2 RQ queue  3 handlers
-- ARGV  1 now (ISO)  2 at most this many
-- -> {queued, ended runs that wait for their error handler}
-- invariant: a run is queued by the call that removes it from the registry, so once, however many workers call. What is due is told by Redis' own
-- clock, which has also set the time. A flow that has begun goes to the head of the queue: its time runs. cost: O(runs)
local time = redis.call('TIME')
local queued, begun = {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time[1] + time[2] / 1000000, 'LIMIT', 0, ARGV[2])) do
  local job = read_job(id)
  if redis.call('ZREM', KEYS[1], id) == 1 and job.status == 'scheduled' and job.state == 'scheduled' then
    redis.call('HSET', job.key, 'status', 'queued', 'state', 'queued')
    move(job, 'scheduled', 'queued')
    if job.parked then -- it was queued long ago
      begun[#begun + 1] = id
    else
      redis.call('HSET', job.key, 'enqueued_at', ARGV[1])
      queued[#queued + 1] = id
    end
  end
end
many('RPUSH', KEYS[2], queued)
many('LPUSH', KEYS[2], begun)
flush()
return {#queued + #begun, redis.call('LLEN', KEYS[3])}
