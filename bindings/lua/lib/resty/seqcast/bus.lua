--- A handle on a segment.

local ffi = require "ffi"
local figures = require "resty.seqcast.figures"
local library = require "resty.seqcast.library"
local new_seat = require("resty.seqcast.seat").new
local options = require "resty.seqcast.options"

local tonumber = tonumber
local ffi_gc = ffi.gc
local ffi_new = ffi.new

local C = library.C
local done = library.done
local failure = library.failure
local free_object = library.free_object
local handle_of = library.handle_of
local object = library.object
local text = library.text
local truth = library.truth
local options_of = options.options_of

local Bus = {}
Bus.__index = Bus

local bus_free = C.seqcast_bus_free
-- Looked up here: at the end of a Lua VM the library may be closed before its objects.
local bus_unlink_if_last = C.seqcast_bus_unlink_if_last

--- An object of the library's handle.
local function new(handle)
  return object(Bus, handle, bus_free)
end

--- Gives the handle back. Seats that were taken stay.
function Bus:free()
  handle_of(self, Bus, "free")
  return free_object(self, bus_free)
end

--- The segment's name, with its slash.
function Bus:name()
  return text(C.seqcast_bus_name, handle_of(self, Bus, "name"))
end

--- The identity of the bus: another one for each segment that is ever created.
function Bus:id()
  return text(C.seqcast_bus_id, handle_of(self, Bus, "id"))
end

--- What was asked for and the existing segment does not have, as a text; empty if there is nothing.
function Bus:differences()
  return text(C.seqcast_bus_differences, handle_of(self, Bus, "differences"))
end

--- True if this call created the segment.
function Bus:was_created()
  return truth(C.seqcast_bus_was_created(handle_of(self, Bus, "was_created")))
end

--- True if the name still leads to this segment.
function Bus:is_current()
  return truth(C.seqcast_bus_is_current(handle_of(self, Bus, "is_current")))
end

local function number_method(call, get)
  local out = ffi_new("uint64_t[1]")
  return function(self)
    local result = get(handle_of(self, Bus, call), out)
    if result < 0 then
      return failure(result)
    end
    return tonumber(out[0])
  end
end

--- The next id to be posted.
Bus.next_id = number_method("next_id", C.seqcast_bus_next_id)

--- The events that the ring holds.
Bus.capacity = number_method("capacity", C.seqcast_bus_capacity)

--- The bytes of the largest event.
Bus.largest_event = number_method("largest_event", C.seqcast_bus_largest_event)

--- Removes the segment's name. Who has it open goes on.
function Bus:unlink()
  return done(C.seqcast_bus_unlink(handle_of(self, Bus, "unlink")))
end

--- Gives the handle back, and removes the segment's name if no handle on it is left in any process. Returns true if
-- this call removed the name, false if the segment is in use or the name leads to another one.
function Bus:unlink_if_last()
  local handle = handle_of(self, Bus, "unlink_if_last")
  ffi_gc(handle, nil)
  return truth(bus_unlink_if_last(handle))
end

--- All figures by name, and `workers`: an array with those of each worker.
function Bus:stats()
  return figures(C.seqcast_bus_stats, handle_of(self, Bus, "stats"))
end

local seat_out = ffi_new("seqcast_seat *[1]")

local function joiner(call, join)
  return function(self, given)
    local handle = handle_of(self, Bus, call)
    local struct = options_of("seqcast_seat_options", given, 1, call)
    local result = join(handle, struct, seat_out)
    if result < 0 then
      return failure(result)
    end
    return new_seat(seat_out[0])
  end
end

--- Takes a seat that reads and posts.
--
-- Options: `label`, `start` ("now", "oldest", `{ at = id }`, `{ after = id }`, `{ resume = position }`),
-- `wait_interval`, `wait_max` and `timeout` in seconds, `silent`.
Bus.subscribe = joiner("subscribe", C.seqcast_bus_subscribe)

--- Takes a seat that only posts and claims.
Bus.publisher = joiner("publisher", C.seqcast_bus_publisher)

return { new = new }
