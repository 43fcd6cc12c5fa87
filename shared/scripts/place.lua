-- Inbox entries become runs (RQ jobs), queued or suspended, or are counted and buried, each only if its acknowledgement removed it from the group.
-- KEYS  1 inbox  2 RQ queue  3 RQ queues  4 runs  5 dead  6 dead letters  7 deployment  8 RQ deferred
-- ARGV  1 group  2 now (ISO)  3 now in us  4 dead_max  5 seconds that a publisher's own id is remembered  6 RQ queue's name  7 the deployment whose modes the verdicts go by ('' any)
--       then per entry: stream id, trigger, key of the publisher's id ('' none), verdict (run | suspended | filtered | unrouted | poisoned), dead letter ('' none),
--       ms for which it is of use from its admission on ('' for ever), count of runs, then per run: id, data, description, time-out in s, handler (1 it has an error handler, '' none)
-- -> {entries placed or settled, entries that were no longer ours, runs}; {-1} another deployment is current: nothing was changed
-- invariant: an entry's acknowledgement and its runs are one step, so that however many dispatchers hold it, it is placed once; whether
-- it is suspended goes by what is deployed at this very moment. Its age is told by Redis' own clock, which has also made its id. cost: O(entries)
if ARGV[7] ~= '' and (redis.call('HGET', KEYS[7], 'number') or '0') ~= ARGV[7] then return {-1} end
local now_us, dead_max = tonumber(ARGV[3]), tonumber(ARGV[4])
local settled, gone, queued, removed, listed, of = 0, 0, {}, {}, {}, {} -- written once for all
local made, deferred, suspended = 0, {}, {}
local clock_ms
local function has_passed(ms)
  if not clock_ms then local time = redis.call('TIME'); clock_ms = time[1] * 1000 + time[2] / 1000 end
  return clock_ms >= ms
end
local HAS_RUNS = {run = true, suspended = true, filtered = true}
local i = 8
while i <= #ARGV do
  local entry, trigger, published, verdict, letter, runs = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], tonumber(ARGV[i + 6])
  local admitted = string.match(entry, '^%d+') -- ms, of Redis' clock
  local expires = ARGV[i + 5] ~= '' and admitted + ARGV[i + 5]
  if expires and HAS_RUNS[verdict] and has_passed(expires) then verdict, published = 'expired', '' end
  i = i + 7
  if redis.call('XACK', KEYS[1], ARGV[1], entry) == 0 then
    gone = gone + 1
  else
    settled = settled + 1
    removed[#removed + 1] = entry
    bump(trigger, 'inbox', -1)
    if published ~= '' and not redis.call('SET', published, entry, 'NX', 'EX', ARGV[5]) then
      bump(trigger, 'repeated', 1)
    elseif verdict == 'run' or verdict == 'suspended' then
      local waits = verdict == 'suspended'
      bump(trigger, 'placed', 1)
      bump(trigger, 'runs', runs)
      bump(trigger, waits and 'suspended' or 'queued', runs)
      for r = 0, runs - 1 do
        local id, a = ARGV[i + 5 * r], i + 5 * r
        redis.call('HSET', 'rq:job:' .. id, 'status', waits and 'deferred' or 'queued', 'state', waits and 'suspended' or 'queued', 'trigger', trigger, 'data', ARGV[a + 1], 'timeout', ARGV[a + 3],
          'created_at', ARGV[2], 'enqueued_at', ARGV[2], 'origin', ARGV[6], 'description', ARGV[a + 2], 'admitted', admitted)
        if ARGV[a + 4] ~= '' then redis.call('HSET', 'rq:job:' .. id, 'handler', ARGV[a + 4]) end
        if expires then redis.call('HSET', 'rq:job:' .. id, 'expires', expires) end
        local n, by_trigger = #listed, of[trigger] or {}
        listed[n + 1] = now_us + made; listed[n + 2] = id
        made = made + 1
        by_trigger[#by_trigger + 1] = listed[n + 1]; by_trigger[#by_trigger + 1] = id
        of[trigger] = by_trigger
        if waits then
          local by_trigger_suspended = suspended[trigger] or {}
          by_trigger_suspended[#by_trigger_suspended + 1] = listed[n + 1]; by_trigger_suspended[#by_trigger_suspended + 1] = id
          suspended[trigger] = by_trigger_suspended
          deferred[#deferred + 1] = math.floor(now_us / 1000000); deferred[#deferred + 1] = id
        else
          queued[#queued + 1] = id
        end
      end
    elseif verdict == 'filtered' or verdict == 'expired' then
      bump(trigger, 'placed', 1)
      bump(trigger, 'runs', 1)
      bump(trigger, verdict, 1)
    else
      bump(trigger, verdict, 1)
      if letter ~= '' then bury(KEYS[5], KEYS[6], 'm-' .. entry, math.floor(now_us / 1000), dead_max, trigger, letter) end
    end
  end
  i = i + 5 * runs
end
many('ZADD', KEYS[4], listed)
for trigger, by_trigger in pairs(of) do many('ZADD', KEYS[4] .. ':' .. trigger, by_trigger) end
for trigger, waiting in pairs(suspended) do many('ZADD', 'headrace:suspended:' .. trigger, waiting) end
many('ZADD', KEYS[8], deferred)
many('RPUSH', KEYS[2], queued)
many('XDEL', KEYS[1], removed)
if #queued > 0 then redis.call('SADD', KEYS[3], KEYS[2]) end
flush()
return {settled, gone, made}
