-- Put in front of every verb by the loader. Counters are collected here and written once per call by flush().
local FAR = 4102444800 -- RQ's registries drop scores that lie in the past: ours start in the year 2100, plus the end of the run
local cells = {}

-- One command for many members; a member takes as many `args` as divide 2000.
local function many(command, key, args)
  for from = 1, #args, 2000 do redis.call(command, key, unpack(args, from, math.min(from + 1999, #args))) end
end

-- Fields and values among the arguments into a hash, however many.
local function put(key, args, from, to)
  for at = from, to, 2000 do redis.call('HSET', key, unpack(args, at, math.min(at + 1999, to))) end
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

-- Forget a run that has ended, and with a flow its parts. Its registry is the caller's business, those of the parts are not.
local forget_run
function forget_run(runs_key, of_trigger_key, dead_key, letters_key, id)
  drop_dead(dead_key, letters_key, id)
  if redis.call('UNLINK', 'headrace:flow:' .. id) == 1 then
    for _, child in ipairs(redis.call('ZRANGE', 'headrace:children:' .. id, 0, -1)) do
      local h = redis.call('HMGET', 'rq:job:' .. child, 'part', 'status', 'state')
      if h[1] and not is_live(h[2], h[3]) then
        for _, registry in ipairs({'finished', 'failed', 'canceled'}) do redis.call('ZREM', 'rq:' .. registry .. ':headrace', child) end
        forget_run(runs_key, nil, dead_key, letters_key, child)
      end
    end
  end
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
  local h = redis.call('HMGET', 'rq:job:' .. id, 'status', 'state', 'trigger', 'source', 'crashes', 'execution', 'attempts', 'started_at', 'handler',
    'part', 'parent', 'position', 'began')
  return {
    id = id, key = 'rq:job:' .. id, qos = string.sub(id, 2, 2), status = h[1], state = h[2],
    trigger = h[3] or '?', source = h[4] or nil, crashes = tonumber(h[5] or 0), execution = h[6] or '', attempts = tonumber(h[7] or 0),
    started_at = h[13] or h[8] or '', parked = h[13] ~= false, handler = h[9], part = h[10] or nil, parent = h[11] or nil, position = tonumber(h[12] or 0),
  }
end

-- Let go of a flow that executes, for so many ms. Its attempt goes on with the next start: it is still the one that `began` then.
local function park(job, exec, claims, started, scheduled, ms)
  local time = redis.call('TIME')
  redis.call('HDEL', claims, job.id)
  redis.call('ZREM', started, job.id .. ':' .. exec)
  redis.call('HSET', job.key, 'status', 'scheduled', 'state', 'scheduled', 'worker_name', '', 'attempts', math.max(0, job.attempts - 1))
  redis.call('HSETNX', job.key, 'began', job.started_at)
  redis.call('HDEL', job.key, 'expires') -- it has begun: from now on it does not expire
  redis.call('ZADD', scheduled, time[1] + time[2] / 1000000 + ms / 1000, job.id)
  move(job, 'running', 'scheduled')
end

-- What waits in RQ's scheduled registry for something else than its time is queued: before the flows that have not begun (see flow_fan).
local function wake(job)
  if job.status ~= 'scheduled' or job.state ~= 'scheduled' or redis.call('ZREM', 'rq:scheduled:headrace', job.id) == 0 then return false end
  redis.call('HSET', job.key, 'status', 'queued', 'state', 'queued')
  redis.call('LPUSH', 'rq:queue:headrace', job.id)
  move(job, 'scheduled', 'queued')
  return true
end

-- A part of a flow has ended: its flow is told, once, what of (state, and result or error); another part may begin, and the last one wakes the flow.
local function tell_parent(job, state, text)
  if not job.part then return end
  local flow = 'headrace:flow:' .. job.parent
  local fan = string.match(job.part, '^(.*)/%d+$')
  local h = redis.call('HMGET', flow, fan .. '!next', fan .. '!total', fan .. '!base')
  if not h[1] or redis.call('HSETNX', flow, job.part, state .. ' ' .. (text or '')) == 0 then return end
  local next, total = tonumber(h[1]), tonumber(h[2])
  if job.position <= next then
    while next < total do
      next = next + 1
      if wake(read_job(h[3] .. next)) then break end
    end
    redis.call('HSET', flow, fan .. '!next', next)
  end
  if redis.call('HINCRBY', flow, fan .. '!left', -1) == 0 then wake(read_job(job.parent)) end
end

-- Cancel the parts of a flow that live, and theirs: at once what waits, by its worker what is executed.
local cancel_parts
function cancel_parts(id, now_iso, now_ms, who, reason)
  if redis.call('EXISTS', 'headrace:flow:' .. id) == 0 then return end
  for _, child in ipairs(redis.call('ZRANGE', 'headrace:children:' .. id, 0, -1)) do
    local job = read_job(child)
    if job.part and is_live(job.status, job.state) then
      redis.call('HSET', job.key, 'cancelled_by', who, 'cancel_reason', reason)
      if job.state == 'running' then
        local worker = redis.call('HGET', job.key, 'worker_name')
        if worker then redis.call('PUBLISH', 'rq:pubsub:' .. worker, cjson.encode({command = 'stop-job', job_id = child})) end
      else
        redis.call('HSET', job.key, 'status', 'canceled', 'state', 'cancelled', 'ended_at', now_iso)
        redis.call('ZADD', 'rq:canceled:headrace', FAR + now_ms / 1000, child)
        redis.call('ZREM', 'rq:scheduled:headrace', child)
        move(job, job.state, 'cancelled')
      end
      cancel_parts(child, now_iso, now_ms, who, reason)
    end
  end
end

-- Where the next value begins, in msgpack: texts, bytes, small maps of them, nil and booleans (cmsgpack knows no bytes).
local WIDTH = {[0xc4] = 1, [0xd9] = 1, [0xc5] = 2, [0xda] = 2, [0xc6] = 4, [0xdb] = 4}
local skip
function skip(s, at)
  local tag = string.byte(s, at) or 0xc0
  if tag >= 0xa0 and tag <= 0xbf then return at + 1 + tag - 0xa0 end
  if WIDTH[tag] then
    local size = 0
    for i = 1, WIDTH[tag] do size = size * 256 + (string.byte(s, at + i) or 0) end
    return at + 1 + WIDTH[tag] + size
  end
  at = at + 1
  if tag >= 0x80 and tag <= 0x8f then
    for _ = 1, 2 * (tag - 0x80) do at = skip(s, at) end
  end
  return at
end

-- Whether the run is one of a flow: by what it has recorded, or by its data: (function, nil, (spec), {}), of spec the 11th field.
local function is_flow(job)
  if redis.call('EXISTS', 'headrace:flow:' .. job.id) == 1 then return true end
  local data = redis.call('HGET', job.key, 'data') or ''
  local at = skip(data, 2) + 2
  local fields = string.byte(data, at) or 0
  if fields < 0x9b or fields > 0x9f then return false end -- compressed by RQ's tools, or none of ours
  at = at + 1
  for _ = 1, 10 do at = skip(data, at) end
  return string.byte(data, at) == 0xc3
end

-- Somebody runs again what had failed: a flow is to go on with what has.
local function go_on(job)
  if redis.call('EXISTS', 'headrace:flow:' .. job.id) == 1 then redis.call('HSET', 'headrace:flow:' .. job.id, '!again', 1) end
end

-- Put a message into the outbox of its broker. It is counted under the trigger whose run it comes from.
local function send(broker, trigger, message)
  redis.call('XADD', 'headrace:outbox:' .. broker, '*', 'm', message)
  redis.call('SADD', 'headrace:outboxes', broker)
  bump(trigger, 'said', 1)
  bump(trigger, 'outbox', 1)
end

-- Into the records of a flow, from args[at]: how many messages, per message the field of the step that publishes it, broker, trigger ('?' none), message;
-- then field, value, ... up to args[to]. A message is sent by the call that records the end of its step, once.
local function note(key, args, at, to)
  local from = at + 1
  for _ = 1, tonumber(args[at]) do
    if redis.call('HEXISTS', key, args[from]) == 0 then send(args[from + 1], args[from + 2], args[from + 3]) end
    from = from + 4
  end
  put(key, args, from, to)
end

-- What has ended badly for good waits for its error handler, if it has one.
local function hand_over(job)
  if job.handler then redis.call('RPUSH', 'headrace:handlers', job.id) end
end

-- The crash policy (QoS 0: lost; QoS 1: again, up to max_crashes recorded starts; QoS 2: interrupted; a flow, at QoS 1 and 2: it goes on, and the
-- engine decides what becomes of the step that was cut off, unless it has crashed more often without having come any further). job.state must be running.
-- at = {now_iso, now_ms, max_crashes, dead_max, queue, started, failed, dead, letters}. Returns the new state.
local function crash(job, exec, at, attempt_fields)
  redis.call('ZREM', at.started, job.id .. ':' .. exec)
  if #attempt_fields > 0 then redis.call('XADD', 'rq:results:' .. job.id, 'MAXLEN', 10, '*', unpack(attempt_fields)) end
  local crashes = job.crashes + 1
  if job.qos == '1' and crashes < at.max_crashes or job.qos ~= '0' and crashes <= at.max_crashes and is_flow(job) then
    redis.call('HSET', job.key, 'status', 'queued', 'state', 'queued', 'crashes', crashes, 'worker_name', '')
    redis.call('HDEL', job.key, 'began')
    redis.call('LPUSH', at.queue, job.id)
    move(job, 'running', 'queued')
    return 'queued'
  end
  local state = job.qos == '0' and 'lost' or job.qos == '2' and 'interrupted' or 'failed'
  redis.call('HSET', job.key, 'status', 'failed', 'state', state, 'crashes', crashes, 'ended_at', at.now_iso)
  redis.call('ZADD', at.failed, FAR + at.now_ms / 1000, job.id)
  move(job, 'running', state)
  if job.part then
    tell_parent(job, state, '')
  else
    if job.qos ~= '0' then bury(at.dead, at.letters, job.id, at.now_ms, at.dead_max, job.trigger) end
    hand_over(job)
  end
  return state
end
