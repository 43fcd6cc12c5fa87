-- Messages of an outbox, in order.
-- KEYS  1 outbox
-- ARGV  1 the entry behind which they stand  2 at most this many  3 no more once they hold this many bytes
-- -> {entry, message, ...}
-- invariant: writes nothing. cost: O(messages)
local out, bytes, after = {}, 0, ARGV[1]
for _ = 1, ARGV[2] do
  local entry = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 1)[1]
  if not entry then break end
  after = entry[1]
  out[#out + 1] = after; out[#out + 1] = entry[2][2]
  bytes = bytes + #entry[2][2]
  if bytes >= tonumber(ARGV[3]) then break end
end
return out
