#!lua flags=no-writes
-- Returns a part of what is retained. A value that is there from the first part to the last one is in one of them.
--
-- KEYS: retained values
-- ARGV: 0, or the cursor of the part before; about how many values
-- Returns: the server's time in ms, the cursor of the next part or 0, fields and values
local time = redis.call('TIME')
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
return {tonumber(time[1] .. string.sub('000000' .. time[2], -6, -4)), page[1], page[2]}
