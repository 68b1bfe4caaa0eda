#!lua
-- Registers a process for an origin. Processes that registered for it before are fenced off.
--
-- KEYS: origins
-- ARGV: origin, session, begin, format, host, longest absence in ms
-- Returns: 1 if the origin was known, the next id that it has not appended, the number of origins
local origins = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1] .. string.sub('000000' .. time[2], -6, -4))

local all = redis.call('HGETALL', origins)
local hosts, known, next = 1, 0, ARGV[3]
for i = 1, #all, 2 do
  local have, seen = string.match(all[i + 1], '^%x+ (%x+) (%d+) ')
  if all[i] == ARGV[1] and have then
    known, next = 1, have
  elseif not seen or tonumber(seen) + tonumber(ARGV[6]) < now then
    redis.call('HDEL', origins, all[i])
  else
    hosts = hosts + 1
  end
end
redis.call('HSET', origins, ARGV[1], string.format('%s %s %.0f %s %s', ARGV[2], next, now, ARGV[4], ARGV[5]))
return {known, next, hosts}
