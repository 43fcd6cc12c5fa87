-- What a worker holds, read back after a lost reply.
-- KEYS  1 claims
-- -> {id, execution id and stage, data, time-out, attempts, retries, the trigger that counts it ('-' none), when it was queued (ISO, '' where it goes on),
--    0 (see claim), ...}
-- invariant: reads only. cost: O(claims)
local out, claims = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #claims, 2 do
  local h = redis.call('HMGET', 'rq:job:' .. claims[i], 'data', 'timeout', 'attempts', 'trigger', 'source', 'retries', 'enqueued_at', 'began')
  local n = #out
  out[n + 1] = claims[i]; out[n + 2] = claims[i + 1]; out[n + 3] = h[1] or ''; out[n + 4] = h[2] or ''; out[n + 5] = tonumber(h[3] or 0)
  out[n + 6] = tonumber(h[6] or 0); out[n + 7] = h[5] and '-' or h[4] or '?'; out[n + 8] = not h[8] and h[7] or ''; out[n + 9] = 0
end
return out
