#!lua flags=no-writes
-- Tells where the stream ends and, on request, how far each origin has appended.
--
-- KEYS: stream, meta, origins
-- ARGV: 1 to get the origins, else 0
-- Returns: id of the last entry or '', its chain, number of the next event, origins and their records
local values = redis.call('HMGET', KEYS[2], 'g', 'c', 'n')
local timeline, chain, n = values[1], values[2] or '', values[3] or '0'
local id = ''
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  id = last[1]
  local fields = {}
  for i = 1, #last[2], 2 do
    fields[last[2][i]] = last[2][i + 1]
  end
  chain = fields['c'] or ''
  if timeline ~= string.match(id, '^%d+') then
    -- The meta key was lost: the entry's own number is the best there is.
    n = string.format('%.0f', (tonumber(fields['n'] or '0') or 0) + 1)
  end
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  -- Trimmed to nothing. The stream still knows its last id.
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      id = info[i + 1]
    end
  end
  if timeline ~= string.match(id, '^%d+') then
    id, chain, n = '', '', '0'
  end
else
  chain, n = '', '0'
end
local all = {}
if ARGV[1] == '1' then
  all = redis.call('HGETALL', KEYS[3])
end
return {id, chain, n, all}
