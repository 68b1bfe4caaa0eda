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

local named_starts = {
  now = C.SEQCAST_START_NOW,
  oldest = C.SEQCAST_START_OLDEST,
  retained = C.SEQCAST_START_RETAINED,
}

local function is_count(value)
  return type(value) == "number" and value >= 0 and value == floor(value) and value <= 2^53
end

local function is_time(value)
  return type(value) == "number" and value >= 0
end

--- Stores if a post is retained, and under which key. Returns the rule that the value breaks.
local function retain(struct, value)
  if type(value) ~= "boolean" and type(value) ~= "string" then
    return "must be a boolean or a key, which is a string"
  end
  struct.retain = value and 1 or 0
  if type(value) == "string" then
    struct.retain_key, struct.retain_key_len = value, #value
  end
end

-- Each checks an option's value and stores it in the struct, or returns the rule that the value breaks.
local converters = {
  count = function(struct, field, value)
    if not is_count(value) then
      return "must be a whole number"
    end
    struct[field] = value
  end,
  keys = function(struct, _, value)
    if not is_count(value) then
      return "must be a whole number"
    end
    -- In the struct, 0 means the default.
    struct.retained_keys = value == 0 and -1 or value
  end,
  hosts = function(struct, field, value)
    if not is_count(value) then
      return "must be a whole number"
    end
    struct[field] = value == 0 and -1 or value
  end,
  most_patience = function(struct, _, value)
    if not is_time(value) then
      return "must be a number of seconds, and not negative"
    end
    struct.most_patience_ns = value == 0 and -1 or nanoseconds(value, 1)
  end,
  patience = function(struct, field, value)
    if not is_time(value) then
      return "must be a number of seconds, and not negative"
    end
    -- 0 is the default: posts do not wait.
    struct[field .. "_ns"] = value == 0 and 0 or nanoseconds(value, 1)
  end,
  retain = function(struct, _, value)
    return retain(struct, value)
  end,
  seconds = function(struct, field, value)
    if not is_time(value) then
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
    if named_starts[value] then
      struct.start = named_starts[value]
      return
    end
    local rule = 'must be "now", "oldest", "retained", { at = id }, { after = id } or { resume = position }'
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
    retained = "keys", retained_size = "count", large_blocks = "count", large_size = "count",
    most_patience = "most_patience", relay_hosts = "hosts",
  },
  seqcast_seat_options = {
    label = "text", start = "start", wait_interval = "seconds", wait_max = "seconds", timeout = "seconds",
    silent = "flag", resync = "flag", must_read = "patience",
  },
  seqcast_post_options = {
    type_tag = "tag", key = "text", ttl = "seconds", retain = "retain", cluster = "flag",
  },
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

return { options_of = options_of, nanoseconds = nanoseconds, retain = retain }
