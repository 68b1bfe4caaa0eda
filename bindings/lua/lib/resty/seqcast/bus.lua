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
-- Looked up here: when a Lua VM is closed, the library may be closed before its objects.
local bus_unlink_if_last = C.seqcast_bus_unlink_if_last

--- Returns an object for the library's handle.
local function new(handle)
  return object(Bus, handle, bus_free)
end

--- Frees the handle. Its seats stay usable.
function Bus:free()
  handle_of(self, Bus, "free")
  return free_object(self, bus_free)
end

--- Returns the segment's name, with its slash.
function Bus:name()
  return text(C.seqcast_bus_name, handle_of(self, Bus, "name"))
end

--- Returns the identity of the bus. Each segment that is created has a different one.
function Bus:id()
  return text(C.seqcast_bus_id, handle_of(self, Bus, "id"))
end

--- Returns a text with the options that the existing segment does not have. It is empty if there are none.
function Bus:differences()
  return text(C.seqcast_bus_differences, handle_of(self, Bus, "differences"))
end

--- Returns true if the call that returned this handle created the segment.
function Bus:was_created()
  return truth(C.seqcast_bus_was_created(handle_of(self, Bus, "was_created")))
end

--- Returns true if the name still leads to this segment.
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

--- Returns the id of the next post.
Bus.next_id = number_method("next_id", C.seqcast_bus_next_id)

--- Returns the number of events that the ring holds.
Bus.capacity = number_method("capacity", C.seqcast_bus_capacity)

--- Returns the size of the largest event, in bytes.
Bus.largest_event = number_method("largest_event", C.seqcast_bus_largest_event)

--- Removes the segment's name. Processes that have it open continue to use it.
function Bus:unlink()
  return done(C.seqcast_bus_unlink(handle_of(self, Bus, "unlink")))
end

--- Frees the handle, and removes the segment's name if no handle on it is left in any process. Returns true if this
-- call removed the name, false if the segment is in use or the name leads to another segment.
function Bus:unlink_if_last()
  local handle = handle_of(self, Bus, "unlink_if_last")
  ffi_gc(handle, nil)
  return truth(bus_unlink_if_last(handle))
end

--- Returns all figures by name, and `workers`, an array with the figures of each worker.
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
-- Options: `label`, `start` ("now", "oldest", "retained", `{ at = id }`, `{ after = id }`,
-- `{ resume = position }`), `wait_interval`, `wait_max` and `timeout` in seconds, `silent`, `resync`.
--
-- With the start "retained", `next` first returns the last retained event of every key, and then a delivery of the kind
-- "up_to_date". With `resync`, it does so after the seat has missed events, for the keys of which it has missed some.
Bus.subscribe = joiner("subscribe", C.seqcast_bus_subscribe)

--- Takes a seat that only posts and claims.
Bus.publisher = joiner("publisher", C.seqcast_bus_publisher)

return { new = new }
