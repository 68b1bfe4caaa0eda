--- seqcast for LuaJIT: events between the processes of one host, through shared memory.
--
-- A function that can fail returns `nil`, a text that says what happened and what to do, and a short code such as
-- `"not_found"`. An argument of a wrong type is a Lua error.
--
--     local seqcast = require "resty.seqcast"
--
--     local bus = assert(seqcast.open_or_create("my-server"))
--     local seat = assert(bus:subscribe())
--     assert(seat:post("cache", "stale", "user:42"))
--     local delivery = seat:next()
--     print(delivery.source, delivery.event, delivery.payload)

local ffi = require "ffi"
local library = require "resty.seqcast.library"
local new_bus = require("resty.seqcast.bus").new
local new_inspector = require("resty.seqcast.inspector").new
local options = require "resty.seqcast.options"

local ffi_new = ffi.new

local C = library.C
local done = library.done
local failure = library.failure
local text_of = library.text_of
local truth = library.truth
local typed = library.typed
local options_of = options.options_of

local _M = { _VERSION = "0.1.0" }

--- The library's C functions, for modules that cannot afford a wrapper.
_M.C = C

--- Returns the version of the library.
function _M.version()
  return text_of(C.seqcast_version)
end

local bus_out = ffi_new("seqcast_bus *[1]")

local function opener(call, open)
  return function(name, given)
    typed(name, "string", 1, call)
    local struct = options_of("seqcast_bus_options", given, 2, call)
    local result = open(name, #name, struct, bus_out)
    if result < 0 then
      return failure(result)
    end
    return new_bus(bus_out[0])
  end
end

--- Creates a segment and opens it. A name has 1 to 200 of the characters `A-Z a-z 0-9 . _ -`.
--
-- Options: `capacity`, `block_size`, `claims`, `seats`, `mode`, `owner = { uid =, gid = }`, `creation_timeout` in
-- seconds, `strict`, `unlink_on_free`, `dump`, `retained` (the number of keys that can have a retained event, 64 by
-- default, 0 for none), `retained_size` (bytes of the largest retained event), `large_blocks` and `large_size` (the
-- number of large blocks, none by default, and the bytes of each; for payloads that do not fit in a block),
-- `most_patience` (the longest time in seconds for which a seat may have posts wait for it, 1 by default, 0 for none),
-- `relay_hosts` (of how many hosts a relay can remember what has come from them, 256 by default, 0 for none).
_M.create = opener("create", C.seqcast_bus_create)

--- Opens the segment with this name.
_M.open = opener("open", C.seqcast_bus_open)

--- Opens the segment, or creates it if there is none.
_M.open_or_create = opener("open_or_create", C.seqcast_bus_open_or_create)

--- Creates a segment without a name, for this process and those that it forks.
function _M.anonymous(given)
  local struct = options_of("seqcast_bus_options", given, 1, "anonymous")
  local result = C.seqcast_bus_anonymous(struct, bus_out)
  if result < 0 then
    return failure(result)
  end
  return new_bus(bus_out[0])
end

--- Removes a segment's name. Returns true.
function _M.unlink(name)
  typed(name, "string", 1, "unlink")
  return done(C.seqcast_unlink(name, #name))
end

--- Removes a segment's name if no process has it open. Returns true if it was removed, false if it is in use.
function _M.unlink_unheld(name)
  typed(name, "string", 1, "unlink_unheld")
  return truth(C.seqcast_unlink_unheld(name, #name))
end

--- Returns an array with the names of all segments on this host that this user may read.
function _M.names()
  local all, result = text_of(C.seqcast_names)
  if not all then
    return failure(result)
  end
  local names = {}
  for name in all:gmatch("[^\n]+") do
    names[#names + 1] = name
  end
  return names
end

--- Opens a segment for inspection. Any user may own it.
function _M.inspect(name)
  typed(name, "string", 1, "inspect")
  local out = ffi_new("seqcast_inspector *[1]")
  local result = C.seqcast_inspector_open(name, #name, out)
  if result < 0 then
    return failure(result)
  end
  return new_inspector(out[0])
end

return _M
