--- Conversion of option tables into the library's structs.

local ffi = require "ffi"
local library = require "resty.seqcast.library"

local error = error
local floor = math.floor
local format = string.format
local pairs = pairs
local tostring = tostring
local type = type
local ffi_new = ffi.new
local ffi_sizeof = ffi.sizeof

local C = library.C

-- In nanoseconds: about 290 years.
local FARTHEST = 9.2e18

--- Returns seconds as nanoseconds, at least `least`: for some options 0 would mean the default.
local function nanoseconds(seconds, least)
  local ns = seconds * 1e9
  if ns > FARTHEST then
    return FARTHEST
  end
  return ns < least and least or floor(ns)
end

-- Each checks an option's value and stores it in the struct, or returns the rule that the value breaks.
local converters = {
  count = function(struct, field, value)
    if type(value) ~= "number" or value < 0 or value ~= floor(value) or value > 2^53 then
      return "must be a whole number"
    end
    struct[field] = value
  end,
  seconds = function(struct, field, value)
    if type(value) ~= "number" or not (value >= 0) then
      return "must be a number of seconds, and not negative"
    end
    struct[field .. "_ns"] = nanoseconds(value, 1)
  end,
  flag = function(struct, field, value)
    if type(value) ~= "boolean" then
      return "must be a boolean"
    end
    struct[field] = value and 1 or 0
  end,
  text = function(struct, field, value)
    if type(value) ~= "string" then
      return "must be a string"
    end
    struct[field] = value
    struct[field .. "_len"] = #value
  end,
  tag = function(struct, field, value)
    if type(value) ~= "number" and not ffi.istype("uint64_t", value) then
      return "must be a number or a uint64_t"
    end
    struct[field] = value
  end,
  owner = function(struct, _, value)
    local uid, gid = type(value) == "table" and value.uid, type(value) == "table" and value.gid
    if type(uid) ~= "number" or type(gid) ~= "number" then
      return "must be a table with the numbers uid and gid"
    end
    struct.set_owner, struct.owner_uid, struct.owner_gid = 1, uid, gid
  end,
  start = function(struct, _, value)
    if value == "now" or value == "oldest" then
      struct.start = value == "now" and C.SEQCAST_START_NOW or C.SEQCAST_START_OLDEST
      return
    end
    local rule = 'must be "now", "oldest", { at = id }, { after = id } or { resume = position }'
    if type(value) ~= "table" then
      return rule
    end
    if type(value.resume) == "string" then
      struct.start = C.SEQCAST_START_RESUME
      struct.start_position, struct.start_position_len = value.resume, #value.resume
      return
    end
    local id = value.at or value.after
    if type(id) ~= "number" or id < 0 or id ~= floor(id) then
      return rule
    end
    struct.start = value.at and C.SEQCAST_START_AT or C.SEQCAST_START_AFTER
    struct.start_id = id
  end,
}

local known_options = {
  seqcast_bus_options = {
    capacity = "count", block_size = "count", claims = "count", seats = "count", creation_timeout = "seconds",
    mode = "count", owner = "owner", strict = "flag", unlink_on_free = "flag", dump = "flag",
  },
  seqcast_seat_options = {
    label = "text", start = "start", wait_interval = "seconds", wait_max = "seconds", timeout = "seconds",
    silent = "flag",
  },
  seqcast_post_options = { type_tag = "tag", key = "text", ttl = "seconds" },
  seqcast_tail_options = { start = "start", patience = "seconds", payloads = "flag" },
}

--- Makes the struct `name` from a table of options. The struct points to the table's texts, so the table must outlive
-- it.
local function options_of(name, options, number, call)
  if options == nil then
    return nil
  end
  if type(options) ~= "table" then
    error(format("bad argument #%d to '%s' (table of options expected, got %s)", number, call, type(options)), 3)
  end
  local known, struct = known_options[name], ffi_new(name)
  struct.size = ffi_sizeof(name)
  for option, value in pairs(options) do
    local kind = known[option]
    local problem = "is not known"
    if kind then
      problem = converters[kind](struct, option, value)
    end
    if problem then
      error(format("bad argument #%d to '%s' (option '%s' %s)", number, call, tostring(option), problem), 3)
    end
  end
  return struct
end

return { options_of = options_of, nanoseconds = nanoseconds }
