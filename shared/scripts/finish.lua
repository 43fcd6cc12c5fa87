-- Record how started runs ended, and put what they publish into the outboxes.
-- KEYS  1 claims  2 RQ queue  3 RQ started  4 RQ finished  5 RQ failed  6 RQ canceled  7 RQ worker  8 dead  9 dead letters  10 RQ scheduled
-- ARGV  1 worker  2 now (ISO)  3 now in ms  4 max_crashes  5 dead_max  6 seconds worked (0: not said)  7 count of runs
--       then per run: id, execution id, the trigger that counts it ('-' none, '' to be looked up), outcome (succeeded | failed | crashed | stopped |
--       interrupted: a flow that ends because a step of it was |
--       retry <ms until it is to be tried again> | recovered: it has succeeded, and so has the run whose error handler it is),
--       result (base64 msgpack, '' none), traceback (base64 zlib, '' none), error (JSON, '' none), log ('' none),
--       what else the attempt has noted (JSON, '' none)
--       then per message: number of its run from 1, broker, trigger ('?' none), message
-- -> {the new state, '' where the run was no longer ours and nothing was changed, ...}
-- invariant: only the execution that started a run ends it; a repeat (lost reply) changes nothing; one that was already written off
-- (lost, interrupted) becomes what it was, unless it has been re-driven. A message is sent by the call that ends its run. cost: O(runs + messages)
local now_iso, now_ms = ARGV[2], tonumber(ARGV[3])
local at = {now_iso = now_iso, now_ms = now_ms, max_crashes = tonumber(ARGV[4]), dead_max = tonumber(ARGV[5]),
  queue = KEYS[2], started = KEYS[3], failed = KEYS[5], dead = KEYS[8], letters = KEYS[9]}
local STATUS = {succeeded = 'finished', failed = 'failed', interrupted = 'failed', stopped = 'stopped'}
local TYPE = {succeeded = '1', recovered = '1', failed = '2', interrupted = '2', crashed = '2', stopped = '3'}
local RETRIED = '4'
local out, done, bad = {}, 0, 0
local count, messages = tonumber(ARGV[7]), {}
local ids, ended, left, listed = {}, {}, {}, {[KEYS[4]] = {}, [KEYS[5]] = {}, [KEYS[6]] = {}} -- written once for all

local function began(job)
  if job.started_at then return job.started_at end
  local h = redis.call('HMGET', job.key, 'began', 'started_at')
  return h[1] or h[2] or ''
end

local function attempt(i, job)
  local fields = {'type', TYPE[ARGV[i + 3]] or RETRIED, 'worker_name', ARGV[1], 'execution_id', ARGV[i + 1],
    'started_at', began(job), 'ended_at', now_iso, 'log', ARGV[i + 7]}
  for offset, name in pairs({[4] = 'return_value', [5] = 'exc_string', [6] = 'error', [8] = 'noted'}) do
    if ARGV[i + offset] ~= '' then fields[#fields + 1] = name; fields[#fields + 1] = ARGV[i + offset] end
  end
  return fields
end

-- The run that this handler was for: as if it had succeeded, unless it is on its way again.
local function recover(handler)
  local run = read_job(redis.call('HGET', handler.key, 'parent') or '')
  if run.status ~= 'failed' or not BADLY[run.state] then return end
  redis.call('HSET', run.key, 'status', 'finished', 'state', 'succeeded', 'recovered_by', handler.id)
  redis.call('ZREM', KEYS[5], run.id)
  redis.call('ZREM', KEYS[8], run.id)
  local list = listed[KEYS[4]]
  list[#list + 1] = FAR + now_ms / 1000; list[#list + 1] = run.id
  move(run, run.state, 'succeeded')
end

local function schedule(i, job, from, delay_ms)
  local time = redis.call('TIME')
  redis.call('HSET', job.key, 'status', 'scheduled', 'state', 'scheduled', 'worker_name', '')
  redis.call('HDEL', job.key, 'ended_at', 'began')
  redis.call('HINCRBY', job.key, 'retries', 1)
  go_on(job)
  redis.call('XADD', 'rq:results:' .. job.id, 'MAXLEN', 10, '*', unpack(attempt(i, job)))
  redis.call('ZADD', KEYS[10], time[1] + time[2] / 1000000 + delay_ms / 1000, job.id)
  bad = bad + 1
  move(job, from, 'scheduled')
  return 'scheduled'
end

local function record(i, job, from)
  local outcome = ARGV[i + 3]
  if outcome == 'recovered' then
    outcome = 'succeeded'
    recover(job)
  elseif not STATUS[outcome] then
    if redis.call('HEXISTS', job.key, 'cancelled_by') == 0 then return schedule(i, job, from, string.match(outcome, '^retry (%d+)$')) end
    outcome = 'stopped' -- it failed before it could be stopped
  end
  local state = outcome == 'stopped' and 'cancelled' or outcome
  redis.call('HSET', job.key, 'status', STATUS[outcome], 'state', state, 'ended_at', now_iso)
  if ARGV[i + 4] ~= '' or ARGV[i + 5] ~= '' or ARGV[i + 6] ~= '' or ARGV[i + 7] ~= '' or ARGV[i + 8] ~= '' then
    redis.call('XADD', 'rq:results:' .. job.id, 'MAXLEN', 10, '*', unpack(attempt(i, job)))
  end
  local badly = outcome == 'failed' or outcome == 'interrupted'
  local registry = outcome == 'succeeded' and KEYS[4] or badly and KEYS[5] or KEYS[6]
  local list = listed[registry]
  list[#list + 1] = FAR + now_ms / 1000; list[#list + 1] = job.id
  if job.part then
    tell_parent(job, state, badly and ARGV[i + 6] or ARGV[i + 4])
  elseif badly then
    bury(KEYS[8], KEYS[9], job.id, now_ms, at.dead_max, job.trigger)
    hand_over(job)
  end
  for _, m in ipairs(messages[i] or {}) do send(ARGV[m + 1], ARGV[m + 2], ARGV[m + 3]) end
  if outcome == 'succeeded' then done = done + 1 else bad = bad + 1 end
  move(job, from, state)
  return state
end

for i = 8, 7 + 9 * count, 9 do ids[#ids + 1] = ARGV[i] end
for m = 8 + 9 * count, #ARGV, 4 do
  local i = 9 * tonumber(ARGV[m]) - 1
  messages[i] = messages[i] or {}
  table.insert(messages[i], m)
end
for index, claim in ipairs(pick(KEYS[1], ids)) do
  local i = 9 * index - 1
  local id, exec, counted, outcome = ids[index], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local ours = claim == exec .. ' started'
  local job = ours and outcome == 'succeeded' and counted ~= '' and {id = id, key = 'rq:job:' .. id, counted = counted} or read_job(id)
  local state = ''
  if ours then
    ended[#ended + 1] = id
    if outcome == 'crashed' then
      state = crash(job, exec, at, attempt(i, job))
      bad = bad + 1
    else
      left[#left + 1] = id .. ':' .. exec
      state = record(i, job, 'running')
    end
  elseif job.execution == exec and outcome ~= 'crashed' and outcome ~= 'interrupted' then
    if job.state == 'lost' or job.state == 'interrupted' then
      redis.call('ZREM', KEYS[5], id)
      redis.call('ZREM', KEYS[8], id)
      state = record(i, job, job.state)
    elseif not claim and job.status ~= 'queued' and job.status ~= 'started' then
      state = job.state
    end
  end
  if state == '' then bump(job.trigger, 'late', 1) end
  out[#out + 1] = state
end
many('HDEL', KEYS[1], ended)
many('ZREM', KEYS[3], left)
for registry, list in pairs(listed) do many('ZADD', registry, list) end
if redis.call('EXISTS', KEYS[7]) == 1 then -- else RQ, or a sweep, has forgotten the worker
  if done > 0 then redis.call('HINCRBY', KEYS[7], 'successful_job_count', done) end
  if bad > 0 then redis.call('HINCRBY', KEYS[7], 'failed_job_count', bad) end
  if ARGV[6] ~= '0' then redis.call('HINCRBYFLOAT', KEYS[7], 'total_working_time', ARGV[6]) end
end
flush()
return out
