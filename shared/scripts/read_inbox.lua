-- Read what nobody has yet, up to a number of entries and of bytes. Never waits.
-- KEYS  1 inbox
-- ARGV  1 group  2 consumer  3 at most this many entries  4 stop after this many bytes  5 entries looked at at once
-- -> entries as XREADGROUP gives them: {{id, {field, value, ...}}, ...}
-- invariant: what is read stays pending on the consumer; the sizes of messages are known only once they are read, so the
-- step bounds by how much one read may exceed its bytes. cost: O(entries)
local most, room, step = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local found = {}
while #found < most and room > 0 do
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', math.min(step, most - #found), 'STREAMS', KEYS[1], '>')
  local entries = reply and reply[1] and reply[1][2] or {}
  for _, entry in ipairs(entries) do
    found[#found + 1] = entry
    for _, text in ipairs(entry[2]) do room = room - #text end
  end
  if #entries < step then break end
end
return found
