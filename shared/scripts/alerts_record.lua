-- Write down what is wrong now, and what is to be told of it.
-- KEYS  1 role  2 alerts  3 notices
-- ARGV  1 process  2 notices that are kept  3 how many records, then per record: key, JSON; then per notice: id, JSON
-- -> 1 | 0 another process looks after alerts: nothing was changed
-- invariant: what is told and that it was told are one step, so that no restart and no second process tells it again. cost: O(records + notices)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local records, notices, till = {}, {}, 3 + 2 * ARGV[3]
for i = 4, till do records[#records + 1] = ARGV[i] end
for i = till + 1, #ARGV do notices[#notices + 1] = ARGV[i] end
redis.call('DEL', KEYS[2])
many('HSET', KEYS[2], records)
many('HSET', KEYS[3], notices)
local excess = redis.call('HLEN', KEYS[3]) - ARGV[2]
if excess > 0 then
  local ids = redis.call('HKEYS', KEYS[3])
  table.sort(ids) -- they begin with their time
  many('HDEL', KEYS[3], {unpack(ids, 1, excess)})
end
return 1
