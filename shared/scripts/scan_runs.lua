-- Look at some runs, newest first, for those that a search may want. Only reads; the caller looks closer at what it is given.
-- KEYS  1 runs (of all triggers, or of one)
-- ARGV  1 from this score down ('+inf')  2 how many of that score were looked at before  3 down to this score ('-inf')  4 look at so many
--       5 give so many  6 states, each between commas ('' any)  7 runnable ('' any)  8 topic as a Lua pattern ('' any)
--       9 text in the error, lower case ('' any)  10 text in what the attempt has noted ('' any)  11 beginning of the runnable ('' any)
--       12 sources, each between commas ('' any)  13 worker ('' any)  14 who has asked for it ('' any)  15 give no more once the data given has so many bytes
--       then, where not all runs are looked at but these: run id, score, ...
-- -> {score to go on from, how many of that score were looked at, runs looked at, 1 at the end | 0, run id, ...}
-- invariant: no run that fits is left out; one that does not fit may be given where the record of its job does not say. cost: O(runs looked at)
local states, runnable, topic, said, noted = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local path_start, sources, worker, user = ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local by_job = states ~= '' or runnable ~= '' or topic ~= '' or path_start ~= '' or sources ~= '' or worker ~= '' or user ~= ''
local by_attempt = said ~= '' or noted ~= ''
local CUT = 120 -- the most characters of a description

-- A description is `<runnable> on <topic>` or `<runnable> for <who>`.
local function described(text)
  local whole = #text < CUT
  if string.sub(text, 1, #path_start) ~= string.sub(path_start, 1, #text) then return false end
  if runnable ~= '' then
    local head = runnable .. ' '
    if string.sub(text, 1, #head) ~= string.sub(head, 1, #text) then return false end
  end
  if topic ~= '' and whole then
    local _, at = string.find(text, ' on ', 1, true)
    if at then return string.find(string.sub(text, at + 1), topic) ~= nil end
    return string.find(text, ' for ', 1, true) == nil
  end
  return true
end

local function fits(id)
  if by_job then
    local h = redis.call('HMGET', 'rq:job:' .. id, 'status', 'state', 'description', 'source', 'worker_name', 'created_by')
    if not h[1] then return false end
    if states ~= '' and not string.find(states, ',' .. shown_state(h[1], h[2] or '') .. ',', 1, true) then return false end
    if sources ~= '' and not string.find(sources, ',' .. (h[4] or 'message') .. ',', 1, true) then return false end
    if worker ~= '' and h[5] ~= worker or user ~= '' and h[6] ~= user then return false end
    if not described(h[3] or '') then return false end
  end
  if by_attempt then
    local entry = redis.call('XREVRANGE', 'rq:results:' .. id, '+', '-', 'COUNT', 1)[1]
    if not entry then return false end
    local of, fields = {}, entry[2]
    for i = 1, #fields, 2 do of[fields[i]] = fields[i + 1] end
    if said ~= '' and not (of.error and string.find(string.lower(of.error), said, 1, true) or not of.error and of.exc_string) then return false end
    if noted ~= '' and not (of.noted and string.find(of.noted, noted, 1, true)) then return false end
  end
  return true
end

local reply = {}
if #ARGV > 15 then
  for i = 16, #ARGV do reply[i - 15] = ARGV[i] end
else
  reply = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[3], 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[4])
end
local top, skip, most, looked, out = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5]), 0, {'', 0, 0, 0}
local bytes, bytes_max = 0, tonumber(ARGV[15])
for i = 1, #reply, 2 do
  looked = looked + 1
  if reply[i + 1] == top then skip = skip + 1 else top, skip = reply[i + 1], 1 end
  if fits(reply[i]) then
    out[#out + 1] = reply[i]
    bytes = bytes + redis.call('HSTRLEN', 'rq:job:' .. reply[i], 'data')
  end
  if #out - 4 == most or bytes >= bytes_max then break end
end
out[1], out[2], out[3] = top, skip, looked
if 2 * looked == #reply and looked < tonumber(ARGV[4]) then out[4] = 1 end
return out
