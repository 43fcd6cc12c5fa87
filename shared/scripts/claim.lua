-- Take runs from the queue for a worker. A claim is not a start.
-- KEYS  1 RQ queue  2 claims  3 RQ suspended  4 worker  5 RQ scheduled  6 RQ canceled
-- ARGV  1 execution id prefix  2 at most this many  3 at most this many bytes  4 now (ISO)
-- -> {state, id, execution id, data, time-out, attempts so far, retries so far, the trigger that counts it ('-' none), when it was queued (ISO, '' where
--    it goes on), 1 if it is a child that has recorded nothing as a flow, ...}: state 1 taken, 0 suspended by RQ's tool, -1 the worker must beat first
-- invariant: a run is in the queue or in exactly one worker's claims; one that has crashed before is claimed alone. One that has expired before its first
-- start ends here, by Redis' own clock. cost: O(runs)
if redis.call('EXISTS', KEYS[4]) == 0 then return {-1} end
if redis.call('EXISTS', KEYS[3]) == 1 then return {0} end
local LOOK_AT = 500
local out, claims, taken, bytes = {1}, {}, 0, 0

-- Its message has expired while it was queued, and its code has never begun.
local function has_expired(h)
  if not h[10] or h[2] ~= 'queued' or h[8] or tonumber(h[7] or 0) > 0 then return false end
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000 >= tonumber(h[10])
end

local function expire(key, id, counted)
  local time = redis.call('TIME')
  redis.call('HSET', key, 'status', 'canceled', 'state', 'expired', 'ended_at', ARGV[4])
  redis.call('ZADD', KEYS[6], FAR + time[1] + time[2] / 1000000, id)
  shift(counted, 'queued', 'expired')
end

-- Take the run at the head of the queue, or drop it where there is nothing to be done; false: no more in this call.
local seen = 0
local function take(id)
  local key = 'rq:job:' .. id
  local h = redis.call('HMGET', key, 'status', 'state', 'trigger', 'data', 'timeout', 'crashes', 'attempts', 'source', 'retries', 'expires', 'enqueued_at',
    'began')
  local crashed = tonumber(h[6] or 0) > 0
  if bytes >= tonumber(ARGV[3]) or crashed and taken > 0 then return false end
  seen = seen + 1
  if h[1] == 'queued' and h[2] == 'running' then -- queued by somebody who did not know that it was promoted meanwhile
    redis.call('HSET', key, 'status', 'started')
  elseif h[1] == 'queued' and has_expired(h) then
    expire(key, id, h[3] or '?')
  elseif h[4] and h[1] == 'queued' then
    local counted = h[8] and '-' or h[3] or '?'
    if h[2] == 'scheduled' or h[2] == 'suspended' then -- promoted, or released, by RQ's own means
      redis.call('HSET', key, 'state', 'queued')
      redis.call('ZREM', KEYS[5], id)
      redis.call('ZREM', 'rq:deferred:headrace', id)
      shift(counted, h[2], 'queued')
    elseif h[2] ~= 'queued' then -- put back by RQ's own requeue: a re-drive
      redis.call('HSET', key, 'state', 'queued', 'source', 'redrive', 'retries', 0)
      h[9] = 0
      redis.call('ZREM', 'headrace:dead', id)
      go_on({id = id})
      counted = '-'
    end
    taken = taken + 1
    bytes = bytes + #h[4]
    local exec = ARGV[1] .. '-' .. taken
    claims[2 * taken - 1] = id; claims[2 * taken] = exec .. ' claimed'
    local n = #out
    out[n + 1] = id; out[n + 2] = exec; out[n + 3] = h[4]; out[n + 4] = h[5] or ''; out[n + 5] = tonumber(h[7] or 0)
    out[n + 6] = tonumber(h[9] or 0); out[n + 7] = counted; out[n + 8] = not h[12] and h[11] or ''
    out[n + 9] = h[8] == 'child' and redis.call('EXISTS', 'headrace:flow:' .. id) == 0 and 1 or 0
    if crashed then return false end
  end
  return true
end

-- What is dropped does not count, or a worker that takes a few at a time would be busy with dropping: but it takes time.
local more, looked_at = true, 0
while more and taken < tonumber(ARGV[2]) and looked_at < LOOK_AT do
  local window = redis.call('LRANGE', KEYS[1], 0, ARGV[2] - taken - 1)
  if #window == 0 then break end
  seen = 0
  for _, id in ipairs(window) do
    more = take(id)
    if not more then break end
  end
  if seen > 0 then redis.call('LPOP', KEYS[1], seen) end
  looked_at = looked_at + seen
end
many('HSET', KEYS[2], claims)
flush()
return out
