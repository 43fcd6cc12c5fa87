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

local function bury(dead_key, letters_key, id, now_ms, dead_max, trigger, letter)
  redis.call('ZADD', dead_key, now_ms, id)
  if letter then redis.call('HSET', letters_key, id, letter) end
  local excess = redis.call('ZCARD', dead_key) - dead_max
  if excess > 0 then
    for _, old in ipairs(redis.call('ZRANGE', dead_key, 0, math.min(excess, 100) - 1)) do
      redis.call('ZREM', dead_key, old)
      redis.call('HDEL', letters_key, old)
      bump(trigger, 'dead_dropped', 1)
    end
  end
end

local function read_job(id)
  local h = redis.call('HMGET', 'rq:job:' .. id, 'status', 'state', 'trigger', 'source', 'crashes', 'execution', 'attempts', 'started_at')
  return {
    id = id, key = 'rq:job:' .. id, qos = string.sub(id, 2, 2), status = h[1], state = h[2],
    trigger = h[3] or '?', source = h[4] or nil, crashes = tonumber(h[5] or 0), execution = h[6] or '', attempts = tonumber(h[7] or 0),
    started_at = h[8] or '',
  }
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
  return state
end
