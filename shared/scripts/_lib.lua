-- Put in front of every verb by the loader. Counters are collected here and written once per call by flush().
local FAR = 4102444800 -- RQ's registries drop scores that lie in the past: ours start in the year 2100, plus the end of the run
local cells = {}

-- One command for many members; a member takes as many `args` as divide 2000.
local function many(command, key, args)
  for from = 1, #args, 2000 do redis.call(command, key, unpack(args, from, math.min(from + 1999, #args))) end
end

-- Some fields of a hash, however many; false where there is none.
local function pick(key, fields)
  if #fields == 0 then return {} end
  if #fields <= 2000 then return redis.call('HMGET', key, unpack(fields)) end
  local out = {}
  for from = 1, #fields, 2000 do
    for _, value in ipairs(redis.call('HMGET', key, unpack(fields, from, math.min(from + 1999, #fields)))) do out[#out + 1] = value end
  end
  return out
end

local function bump(trigger, cell, by)
  local of = cells[trigger]
  if not of then of = {}; cells[trigger] = of end
  of[cell] = (of[cell] or 0) + by
end

local function flush()
  for trigger, of in pairs(cells) do
    local key = 'headrace:counters:' .. trigger
    for cell, by in pairs(of) do
      if by ~= 0 then redis.call('HINCRBY', key, cell, by) end
    end
    redis.call('SADD', 'headrace:counters', trigger)
  end
end

-- Only runs that a message made are in the identities; re-drives and the like carry another source, and are counted by '-'.
local function shift(counted, from, to)
  if counted == '-' then return end
  bump(counted, from, -1)
  if to then bump(counted, to, 1) end
end

local function move(job, from, to)
  shift(job.counted or job.source and '-' or job.trigger, from, to)
end

local function counted_by(key)
  local h = redis.call('HMGET', key, 'trigger', 'source')
  return h[2] and '-' or h[1] or '?'
end

-- The run's state, also after RQ's own tools have changed the job: they know only `status`.
local BADLY = {failed = true, interrupted = true, lost = true}
local function shown_state(status, state)
  if status == 'queued' and BADLY[state] then return 'queued' end
  if status == 'canceled' and (state == 'queued' or state == 'scheduled' or state == 'suspended') then return 'cancelled' end
  return state
end

local LIVE = {queued = true, scheduled = true, suspended = true, running = true}
local function is_live(status, state) return LIVE[shown_state(status, state)] == true end

-- The trigger in a dead letter's record: msgpack, an array of version, reason, trigger, ...
local function letter_trigger(letter)
  local at = 4 + bit.band(string.byte(letter, 3) or 0, 31)
  local tag = string.byte(letter, at) or 0
  if tag == 0xd9 then return string.sub(letter, at + 2, at + 1 + (string.byte(letter, at + 1) or 0)) end
  return tag >= 0xa0 and tag <= 0xbf and string.sub(letter, at + 1, at + tag - 0xa0) or nil
end

-- Redis frees the memory of large values while it answers nobody else: a step that forgets ends when it has freed so much.
local STEP_BYTES = 2 * 1024 * 1024
local function run_bytes(id)
  return redis.call('HSTRLEN', 'rq:job:' .. id, 'data') + (redis.call('MEMORY', 'USAGE', 'rq:results:' .. id, 'SAMPLES', 0) or 0)
end

local function drop_dead(dead_key, letters_key, id, otherwise)
  if redis.call('ZREM', dead_key, id) == 0 then return 0 end
  local trigger
  if string.sub(id, 1, 2) == 'm-' then
    trigger = redis.call('HGET', 'headrace:dead:triggers', id)
    if trigger then
      redis.call('HDEL', 'headrace:dead:triggers', id)
    else -- an older release has buried it
      local letter = redis.call('HGET', letters_key, id)
      trigger = letter and letter_trigger(letter)
    end
    redis.call('HDEL', letters_key, id)
  else
    trigger = redis.call('HGET', 'rq:job:' .. id, 'trigger')
  end
  bump(trigger or otherwise or '?', 'dead_dropped', 1)
  return 1
end

-- Forget a run that has ended. Its registry is the caller's business.
local function forget_run(runs_key, of_trigger_key, dead_key, letters_key, id)
  drop_dead(dead_key, letters_key, id)
  redis.call('UNLINK', 'rq:job:' .. id, 'rq:results:' .. id, 'headrace:children:' .. id, 'headrace:log:' .. id)
  redis.call('ZREM', runs_key, id)
  if of_trigger_key then redis.call('ZREM', of_trigger_key, id) end
end

local UNTOLD_MAX = 10000 -- nobody may be there to tell of them
local function bury(dead_key, letters_key, id, now_ms, dead_max, trigger, letter)
  if redis.call('ZADD', dead_key, now_ms, id) == 1 then
    if string.sub(id, 1, 9) ~= 'q2-alert-' then redis.call('HINCRBY', 'headrace:dead:made', trigger, 1) end -- an alert that fails alerts nobody
    if redis.call('RPUSH', 'headrace:dead:untold', id) > UNTOLD_MAX then redis.call('LPOP', 'headrace:dead:untold') end
  end
  if letter then
    redis.call('HSET', letters_key, id, letter)
    redis.call('HSET', 'headrace:dead:triggers', id, trigger)
  end
  local excess = redis.call('ZCARD', dead_key) - dead_max
  if excess > 0 then
    local bytes = 0
    for _, old in ipairs(redis.call('ZRANGE', dead_key, 0, math.min(excess, 100) - 1)) do
      bytes = bytes + redis.call('HSTRLEN', letters_key, old)
      drop_dead(dead_key, letters_key, old, trigger)
      if bytes >= STEP_BYTES then break end
    end
  end
end

local function read_job(id)
  local h = redis.call('HMGET', 'rq:job:' .. id, 'status', 'state', 'trigger', 'source', 'crashes', 'execution', 'attempts', 'started_at', 'handler')
  return {
    id = id, key = 'rq:job:' .. id, qos = string.sub(id, 2, 2), status = h[1], state = h[2],
    trigger = h[3] or '?', source = h[4] or nil, crashes = tonumber(h[5] or 0), execution = h[6] or '', attempts = tonumber(h[7] or 0),
    started_at = h[8] or '', handler = h[9],
  }
end

-- Put a message into the outbox of its broker. It is counted under the trigger whose run it comes from.
local function send(broker, trigger, message)
  redis.call('XADD', 'headrace:outbox:' .. broker, '*', 'm', message)
  redis.call('SADD', 'headrace:outboxes', broker)
  bump(trigger, 'said', 1)
  bump(trigger, 'outbox', 1)
end

-- What has ended badly for good waits for its error handler, if it has one.
local function hand_over(job)
  if job.handler then redis.call('RPUSH', 'headrace:handlers', job.id) end
end

-- The crash policy (QoS 0: lost; QoS 1: again, up to max_crashes recorded starts; QoS 2: interrupted). job.state must be running.
-- at = {now_iso, now_ms, max_crashes, dead_max, queue, started, failed, dead, letters}. Returns the new state.
local function crash(job, exec, at, attempt_fields)
  redis.call('ZREM', at.started, job.id .. ':' .. exec)
  if #attempt_fields > 0 then redis.call('XADD', 'rq:results:' .. job.id, 'MAXLEN', 10, '*', unpack(attempt_fields)) end
  local crashes = job.crashes + 1
  if job.qos == '1' and crashes < at.max_crashes then
    redis.call('HSET', job.key, 'status', 'queued', 'state', 'queued', 'crashes', crashes, 'worker_name', '')
    redis.call('LPUSH', at.queue, job.id)
    move(job, 'running', 'queued')
    return 'queued'
  end
  local state = job.qos == '0' and 'lost' or job.qos == '2' and 'interrupted' or 'failed'
  redis.call('HSET', job.key, 'status', 'failed', 'state', state, 'crashes', crashes, 'ended_at', at.now_iso)
  redis.call('ZADD', at.failed, FAR + at.now_ms / 1000, job.id)
  move(job, 'running', state)
  if job.qos ~= '0' then bury(at.dead, at.letters, job.id, at.now_ms, at.dead_max, job.trigger) end
  hand_over(job)
  return state
end
