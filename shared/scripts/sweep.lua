-- Settle what dead workers have left: claimed runs go back (QoS 0: lost), started ones follow the crash policy. Adopt what RQ's tools have cancelled.
-- KEYS  1 workers  2 RQ queue  3 RQ started  4 RQ failed  5 RQ canceled  6 dead  7 dead letters  8 the sweeper's worker key  9 RQ workers  10 RQ workers of the queue
-- ARGV  1 now (ISO)  2 now in ms  3 max_crashes  4 dead_max  5 at most this many runs  6 error (JSON) of a crashed attempt  7 its traceback (base64 zlib)
--       8 the sweeper's generation  9 ms that the sweeper's lease must still last
-- -> {dead workers settled, back in the queue, lost, interrupted, failed}; {-1} when the sweeper itself is not known to live, or is no longer the one that asked
-- invariant: a run is settled once, because settling removes the claim; callers have held their own lease without a gap for twice its time. cost: O(workers + runs)
-- A request may lie in Redis' socket while Redis stands still, and be carried out when every lease has run out: then the sweeper's own is old, or, if it has come
-- back by another connection, is of another generation.
if redis.call('GET', KEYS[8]) ~= ARGV[8] or redis.call('PTTL', KEYS[8]) < tonumber(ARGV[9]) then return {-1, 0, 0, 0, 0} end
local at = {now_iso = ARGV[1], now_ms = tonumber(ARGV[2]), max_crashes = tonumber(ARGV[3]), dead_max = tonumber(ARGV[4]),
  queue = KEYS[2], started = KEYS[3], failed = KEYS[4], dead = KEYS[6], letters = KEYS[7]}
local budget = tonumber(ARGV[5])
local settled, counts = 0, {queued = 0, lost = 0, interrupted = 0, failed = 0}

local function settle(id, exec, stage)
  local job = read_job(id)
  if not job.status then return end
  if stage == 'started' then
    if job.execution ~= exec or job.state ~= 'running' then return end
    local state = crash(job, exec, at, {'type', '2', 'execution_id', exec, 'worker_name', string.match(exec, '^[^-]+'), 'started_at', job.started_at,
      'ended_at', at.now_iso, 'error', ARGV[6], 'exc_string', ARGV[7]})
    counts[state] = counts[state] + 1
  elseif job.status == 'queued' then
    if job.qos == '0' then
      redis.call('HSET', job.key, 'status', 'failed', 'state', 'lost', 'ended_at', at.now_iso)
      redis.call('ZADD', at.failed, FAR + at.now_ms / 1000, id)
      move(job, 'queued', 'lost')
      if job.part then tell_parent(job, 'lost', '') else hand_over(job) end
      counts.lost = counts.lost + 1
    else
      redis.call('LPUSH', at.queue, id)
      counts.queued = counts.queued + 1
    end
  end
end

for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if redis.call('EXISTS', 'headrace:worker:' .. name) == 0 then
    local claims = 'headrace:worker:' .. name .. ':claims'
    local held = redis.call('HGETALL', claims)
    for i = 1, #held, 2 do
      if budget == 0 then break end
      budget = budget - 1
      local exec, stage = string.match(held[i + 1], '^(%S+) (%S+)$')
      redis.call('HDEL', claims, held[i])
      settle(held[i], exec, stage)
    end
    if redis.call('HLEN', claims) == 0 then
      redis.call('SREM', KEYS[1], name)
      redis.call('DEL', 'rq:worker:' .. name)
      redis.call('SREM', KEYS[9], 'rq:worker:' .. name)
      redis.call('SREM', KEYS[10], 'rq:worker:' .. name)
      settled = settled + 1
    end
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', FAR - 1, 'LIMIT', 0, 100)) do
  local job = read_job(id)
  if (job.state == 'queued' or job.state == 'scheduled' or job.state == 'suspended') and job.status == 'canceled' then
    redis.call('HSET', job.key, 'state', 'cancelled', 'ended_at', at.now_iso)
    if job.state == 'suspended' then redis.call('ZREM', 'headrace:suspended:' .. job.trigger, id) end
    move(job, job.state, 'cancelled')
    cancel_parts(id, at.now_iso, at.now_ms, 'rq', 'its flow was cancelled')
    tell_parent(job, 'cancelled', '')
  end
  redis.call('ZADD', KEYS[5], 'XX', FAR + at.now_ms / 1000, id)
end
flush()
return {settled, counts.queued, counts.lost, counts.interrupted, counts.failed}
