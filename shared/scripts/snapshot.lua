-- Everything that status shows, read at one instant, so that the identities can be checked under load.
-- KEYS  1 counters  2 sessions  3 workers  4 inbox  5 RQ queue  6 RQ started  7 dead  8 deployment  9 deployed
-- -> {now in us, {trigger, {cell, count, ...}, ...}, {session id, {field, value, ...}, lease, packet ids in flight, ...},
--     {worker, 1 alive | 0, claimed, started, {field of RQ's worker hash, value, ...}, ...}, length of the inbox, its oldest entry,
--     length of the queue, when its head was queued (ISO), started, dead, {field of the deployment, value, ...}, {name, version, ...}}
-- invariant: writes nothing. cost: O(triggers + sessions + workers + claims)
local time = redis.call('TIME')
local counters, sessions, workers = {}, {}, {}
for _, trigger in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  counters[#counters + 1] = trigger
  counters[#counters + 1] = redis.call('HGETALL', 'headrace:counters:' .. trigger)
end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local n = #sessions
  sessions[n + 1] = id
  sessions[n + 2] = redis.call('HGETALL', 'headrace:session:' .. id)
  sessions[n + 3] = redis.call('GET', 'headrace:lease:' .. id) or ''
  sessions[n + 4] = redis.call('HLEN', 'headrace:session:' .. id .. ':inflight')
end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  local claimed, started, n = 0, 0, #workers
  for _, held in ipairs(redis.call('HVALS', 'headrace:worker:' .. name .. ':claims')) do
    if string.match(held, 'started$') then started = started + 1 else claimed = claimed + 1 end
  end
  workers[n + 1] = name
  workers[n + 2] = redis.call('EXISTS', 'headrace:worker:' .. name)
  workers[n + 3] = claimed
  workers[n + 4] = started
  workers[n + 5] = redis.call('HGETALL', 'rq:worker:' .. name)
end
local oldest = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)[1]
local head = redis.call('LINDEX', KEYS[5], 0)
local queued_at = head and redis.call('HGET', 'rq:job:' .. head, 'enqueued_at')
return {time[1] * 1000000 + time[2], counters, sessions, workers, redis.call('XLEN', KEYS[4]), oldest and oldest[1] or '',
  redis.call('LLEN', KEYS[5]), queued_at or '', redis.call('ZCARD', KEYS[6]), redis.call('ZCARD', KEYS[7]),
  redis.call('HGETALL', KEYS[8]), redis.call('HGETALL', KEYS[9])}
