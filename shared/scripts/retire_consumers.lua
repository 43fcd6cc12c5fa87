-- Remove consumers of processes that are gone: only idle ones that hold nothing (deleting a consumer drops what is pending on it).
-- KEYS  1 inbox, or another stream
-- ARGV  1 group  2 idle for at least this many ms
-- -> how many were removed
-- invariant: no pending entry is ever dropped. cost: O(consumers)
local removed = 0
local ok = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if ok.err then return 0 end
for _, fields in ipairs(ok) do
  local consumer = {}
  for f = 1, #fields, 2 do consumer[fields[f]] = fields[f + 1] end
  if consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    removed = removed + 1
  end
end
return removed
