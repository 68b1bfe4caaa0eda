#!lua
-- Appends one batch of an origin, once, whatever is repeated.
--
-- KEYS: stream, meta, origins
--       of a unique event: claim
--       of a retained one: retained values, times of clears, ends of ttls
-- ARGV: origin, session, from, next, count, body, most entries
--       of a unique event: its ttl in ms
--       of a retained one: field; its ttl in ms, '' or 'clear'; most keys; the body in its place if there are as many
--
-- Ids are 16 hexadecimal digits and are compared as strings, because Lua's numbers are exact only below 2^53. All
-- checks come before the first write, because a script that fails half way keeps what it has written.
local stream, meta, origins = KEYS[1], KEYS[2], KEYS[3]
local claim = #KEYS == 4 and KEYS[4]
local retained, cleared, ends = #KEYS == 6 and KEYS[4], KEYS[5], KEYS[6]
local origin, session, from, next, count, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local record = redis.call('HGET', origins, origin)
if not record then
  return {'UNKNOWN', ''} -- the server has lost the origin
end
local owner, have, rest = string.match(record, '^(%x+) (%x+) %d+ (.*)$')
if owner ~= session then
  return {'FENCED', have} -- another process has registered for the segment
end
local kind = redis.call('TYPE', stream)['ok']
if kind ~= 'none' and kind ~= 'stream' then
  return redis.error_reply('WRONGTYPE the key of the stream holds another type')
end
local values = redis.call('HMGET', meta, 'g', 'c', 'n', 'x')
if kind == 'none' and values[1] and values[4] ~= values[1] then
  -- The stream was deleted or evicted: all origins send again what they have. Once for each timeline that is lost.
  redis.call('HSET', meta, 'x', values[1])
  redis.call('DEL', origins)
  return {'UNKNOWN', ''}
end
if next <= have then
  return {'OLD', have} -- it was appended, and the reply was lost
end
if from ~= have then
  return {'REWIND', have} -- the server has forgotten batches, or a batch before this one was refused
end
local time = redis.call('TIME')
local now = tonumber(time[1] .. string.sub('000000' .. time[2], -6, -4))

local timeline, chain, n = values[1], values[2], tonumber(values[3] or '0')
local full, ended, field = false, nil, ARGV[8]
if retained then
  local has = redis.call('HEXISTS', retained, field) == 1 and not redis.call('ZSCORE', cleared, field)
  local values = redis.call('HLEN', retained) - redis.call('ZCARD', cleared)
  ended = redis.call('ZRANGEBYSCORE', ends, '-inf', string.format('%.0f', now), 'LIMIT', 0, 1)[1]
  full = ARGV[9] ~= 'clear' and not has and values >= tonumber(ARGV[10]) and not ended
  if full then
    body = ARGV[11]
  end
end
local free = not claim or redis.call('SET', claim, origin .. next, 'NX', 'PX', ARGV[8])
if free and body ~= '' then -- an empty body only takes the key, or only moves `next`
  if not timeline or kind == 'none' then
    -- A new timeline. Its name is greater than the last one, as far as any key still knows that.
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
    local before = tonumber(timeline or '0')
    if last[1] then
      before = math.max(before, tonumber(string.match(last[1][1], '^%d+')))
    end
    timeline = string.format('%.0f', math.max(now, before + 1))
    n = 0
    chain = string.sub(redis.sha1hex(timeline), 1, 16)
  end
  local added = origin .. next .. count
  chain = string.sub(redis.sha1hex(chain .. added), 1, 16)
  redis.call(
    'XADD', stream, 'MAXLEN', '~', ARGV[7], timeline .. '-*',
    'c', chain, 'n', string.format('%.0f', n), 'k', added, 'b', body
  )
  redis.call('HSET', meta, 'g', timeline, 'c', chain, 'n', string.format('%.0f', n + tonumber(count)))
  if retained and not full then
    if ended then
      redis.call('HDEL', retained, ended)
      redis.call('ZREM', ends, ended)
    end
    redis.call('HSET', retained, field, string.format('%s %.0f %.0f ', timeline, n, now) .. body)
    redis.call('ZREM', ends, field)
    redis.call('ZREM', cleared, field)
    if ARGV[9] == 'clear' then
      -- A clear is kept for a day, for hosts that were away.
      redis.call('ZADD', cleared, string.format('%.0f', now + 86400000), field)
      if redis.call('ZCARD', cleared) > tonumber(ARGV[10]) then
        redis.call('HDEL', retained, redis.call('ZPOPMIN', cleared)[1])
      end
    elseif ARGV[9] ~= '' then
      redis.call('ZADD', ends, string.format('%.0f', now + tonumber(ARGV[9])), field)
    end
  end
end
redis.call('HSET', origins, origin, string.format('%s %s %.0f %s', session, next, now, rest))
return {full and 'FULL' or free and 'OK' or 'HELD', next}
