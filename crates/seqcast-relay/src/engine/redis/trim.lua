#!lua flags=allow-oom
-- Bounds the memory of the stream. MAXLEN of XADD bounds only the number of its entries.
--
-- KEYS: stream
-- ARGV: most bytes
-- Returns: bytes that the stream took, entries that were removed
local stream, most = KEYS[1], tonumber(ARGV[1])
-- All parts of the stream are looked at: an estimate from some of them was a quarter of it. A full batch is a part of
-- its own, so there are few.
local bytes = redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 0)
if not bytes or bytes <= most then
  return {bytes or 0, 0}
end
-- A tenth below the bound, so that the next batches do not exceed it at once.
local keep = math.floor(redis.call('XLEN', stream) * most * 0.9 / bytes)
return {bytes, redis.call('XTRIM', stream, 'MAXLEN', '~', keep)}
