--- Retained events as tables.

local ffi = require "ffi"
local library = require "resty.seqcast.library"

local tonumber = tonumber
local ffi_string = ffi.string

local C = library.C
local list_of = library.list_of

local LIST = {
  out = "seqcast_retained_list *[1]",
  element = "const seqcast_retained *[1]",
  at = C.seqcast_retained_list_at,
  free = C.seqcast_retained_list_free,
}

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
  return list_of(LIST, open, handle, event_of)
end

return { event_of = event_of, list = list }
