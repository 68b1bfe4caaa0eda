#!lua flags=allow-oom
-- Bounds the memory of the stream, because MAXLEN of XADD bounds only the number of its entries. Removes retained
-- values whose ttl has ended, and clears that are a day old.
--
-- KEYS: stream, retained values, times of clears, ends of ttls
-- ARGV: most bytes
-- Returns: bytes that the stream took, entries that were removed
local stream, most = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] .. string.sub('000000' .. time[2], -6, -4)
for i = 3, 4 do
  -- Lua passes at most some thousand values to a command.
  local old = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', now, 'LIMIT', 0, 1000)
  if #old > 0 then
    redis.call('HDEL', KEYS[2], unpack(old))
    redis.call('ZREM', KEYS[i], unpack(old))
  end
end
-- All parts of the stream are looked at: an estimate from some of them was a quarter of it. A full batch is a part of
-- its own, so there are few.
local bytes = redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 0)
if not bytes or bytes <= most then
  return {bytes or 0, 0}
end
-- A tenth below the bound, so that the next batches do not exceed it at once.
local keep = math.floor(redis.call('XLEN', stream) * most * 0.9 / bytes)
return {bytes, redis.call('XTRIM', stream, 'MAXLEN', '~', keep)}
