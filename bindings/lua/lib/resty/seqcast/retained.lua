--- Retained events as tables.

local ffi = require "ffi"
local library = require "resty.seqcast.library"

local tonumber = tonumber
local ffi_gc = ffi.gc
local ffi_new = ffi.new
local ffi_string = ffi.string

local C = library.C
local failure = library.failure
local list_free = C.seqcast_retained_list_free

-- The time that is left of an event without a ttl.
local NO_TTL = 0xffffffffffffffffULL

--- Returns a retained event as a table.
local function event_of(it)
  return {
    id = tonumber(it.id),
    source = ffi_string(it.source, it.source_len),
    event = ffi_string(it.event, it.event_len),
    key = ffi_string(it.key, it.key_len),
    payload = ffi_string(it.payload, it.payload_len),
    pid = it.pid,
    seat = it.seat,
    type_tag = it.type_tag ~= 0 and it.type_tag or nil,
    left = it.left_ns ~= NO_TTL and tonumber(it.left_ns) / 1e9 or nil,
  }
end

--- Returns an array of the retained events in the list that `open(handle, out)` makes.
local function list(open, handle)
  local out = ffi_new("seqcast_retained_list *[1]")
  local result = open(handle, out)
  if result < 0 then
    return failure(result)
  end
  local found = ffi_gc(out[0], function(it) list_free(it) end)
  local event, events = ffi_new("const seqcast_retained *[1]"), {}
  while C.seqcast_retained_list_at(found, #events, event) == 1 do
    events[#events + 1] = event_of(event[0])
  end
  ffi_gc(found, nil)
  list_free(found)
  return events
end

return { event_of = event_of, list = list }
