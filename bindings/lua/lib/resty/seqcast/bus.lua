--- A handle on a segment.

local ffi = require "ffi"
local claims = require "resty.seqcast.claims"
local figures = require "resty.seqcast.figures"
local library = require "resty.seqcast.library"
local origin_text = require("resty.seqcast.delivery").origin_text
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
local typed = library.typed
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

local origin_out = ffi_new("uint64_t[1]")

--- Returns the name of the segment among the hosts of a cluster, 16 hexadecimal digits, as deliveries have it in
-- `origin`.
function Bus:origin()
  local result = C.seqcast_bus_origin(handle_of(self, Bus, "origin"), origin_out)
  if result < 0 then
    return failure(result)
  end
  return origin_text(origin_out[0])
end

--- Looks up a key that is claimed without an event. Returns nil if it is free. Otherwise returns a table with `left`
-- and `since` in seconds, `seat`, `pid`, `label`, `winner` ("alive", "dead" or "gone") and `ends_with_holder`.
function Bus:held(key)
  local handle = handle_of(self, Bus, "held")
  typed(key, "string", 1, "held")
  local held = ffi_new("seqcast_held")
  local result = C.seqcast_bus_held(handle, key, #key, held)
  if result < 0 then
    return failure(result)
  end
  return result == 1 and claims.holder_of(held) or nil
end

--- Returns the hash of a key that is claimed without an event, as `inspector:claims()` has it in `key_hash`.
function Bus:key_hash(key)
  local handle = handle_of(self, Bus, "key_hash")
  typed(key, "string", 1, "key_hash")
  return text(function(it, buffer, capacity)
    return C.seqcast_bus_key_hash(it, key, #key, buffer, capacity)
  end, handle)
end

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
-- `{ resume = position }`), `wait_interval`, `wait_max` and `timeout` in seconds, `silent`, `resync`, `must_read` in
-- seconds.
--
-- With the start "retained", `next` first returns the last retained event of every key, and then a delivery of the kind
-- "up_to_date". With `resync`, it does so after the seat has missed events, for the keys of which it has missed some.
--
-- With `must_read`, posts of other seats wait for this seat, each for at most so many seconds, so that it misses
-- nothing. After a post has waited for that long, the seat gets "lagged" with `cut_off`. It must be longer than
-- `wait_max`, and at most `most_patience` of the segment. In nginx, a worker that is busy with one request then delays
-- programs that post. Posts of this seat itself never wait: without room they return nil, a text and "full", and it has
-- to read first.
Bus.subscribe = joiner("subscribe", C.seqcast_bus_subscribe)

--- Takes a seat that only posts and claims.
Bus.publisher = joiner("publisher", C.seqcast_bus_publisher)

return { new = new }
