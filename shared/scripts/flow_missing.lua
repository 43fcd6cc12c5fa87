-- Say of a part of a flow, whose record is gone, that it has ended: RQ's tools may delete runs.
-- KEYS  1 flow
-- ARGV  1 run of the flow, then per part: its run, where it stands (<fan>/<number>)
-- -> how many were gone
-- invariant: a part that is there is left alone; one that has been told of is not told of again. cost: O(parts)
local gone = 0
for i = 2, #ARGV, 2 do
  local id, part = ARGV[i], ARGV[i + 1]
  if redis.call('EXISTS', 'rq:job:' .. id) == 0 and redis.call('HEXISTS', KEYS[1], part) == 0 then
    tell_parent({id = id, parent = ARGV[1], part = part, position = tonumber(string.match(id, '%d+$'))}, 'cancelled', '')
    gone = gone + 1
  end
end
flush()
return gone
