--- The posts of an nginx worker.
--
-- A post must not block the worker: it does not wait for seats that must read, which other programs on the bus and
-- other workers may be. It is refused if there is no room. But only a post that waits cuts off a reader that is
-- stopped. So if such a reader has kept posts out for all of its patience, one post waits for it, for once, unless its
-- patience is longer than a second.

local ffi = require "ffi"
local json = require "resty.seqcast.json"
local library = require "resty.seqcast.library"
local conversions = require "resty.seqcast.options"

local encode = json.encode
local ffi_fill = ffi.fill
local ffi_new = ffi.new
local ffi_sizeof = ffi.sizeof
local ffi_string = ffi.string
local now = ngx.now
local pairs = pairs
local tonumber = tonumber
local tostring = tostring
local type = type

local C = library.C

local FULL = tonumber(C.SEQCAST_E_FULL)

local _M = { FULL = FULL }

local posted_id = ffi_new("uint64_t[1]")
local OPTIONS_BYTES = ffi_sizeof("seqcast_post_options")
-- Only its key and its ttl are ever set.
local unique_options = ffi_new("seqcast_post_options")
unique_options.size = OPTIONS_BYTES
local all_options = ffi_new("seqcast_post_options")

-- In nanoseconds. For a reader with more patience, no post of nginx waits.
local LONGEST_WAIT = 1e9

local full = ffi_new("seqcast_full")
-- When posts of this worker began to find no room, or nil.
local full_since

--- Returns the key of a unique event as a text, nil if `unique` is false, or nil and an error.
local function key_of(unique)
  local kind = type(unique)
  if kind == "string" then
    -- The library's keys have at least one byte.
    return unique == "" and "\0" or unique
  elseif kind == "number" then
    local text, err = encode(unique)
    return text and tostring(tonumber(text)), err
  elseif unique == true then
    return "true"
  elseif unique then
    return nil, "unique must be a string, a number or true, got a " .. kind
  end
end

-- Each stores an option of a post, or returns the rule that the value breaks.
local converters = {
  retain = conversions.retain,
  ttl = function(struct, value)
    if type(value) ~= "number" or not (value > 0) then
      return "must be a number of seconds greater than 0"
    end
    struct.ttl_ns = conversions.nanoseconds(value, 1)
  end,
  cluster = function(struct, value)
    if type(value) ~= "boolean" then
      return "must be a boolean"
    end
    struct.cluster = value and 1 or 0
  end,
}

--- Returns the struct of a table of options, or nil and an error.
local function options_of(given, key, ttl_ns)
  if type(given) ~= "table" then
    return nil, "options must be a table, got a " .. type(given)
  end
  local struct = all_options
  ffi_fill(struct, OPTIONS_BYTES)
  struct.size = OPTIONS_BYTES
  if key then
    struct.key, struct.key_len, struct.ttl_ns = key, #key, ttl_ns
  end
  for name, value in pairs(given) do
    local converter = converters[name]
    local problem = "is not known"
    if converter then
      problem = converter(struct, value)
    end
    if problem then
      return nil, 'option "' .. tostring(name) .. '" ' .. problem
    end
  end
  return struct
end

--- Called when there was no room. Returns true if this post is the one that waits.
local function waits_for_once()
  if C.seqcast_error_full(full) ~= 1 or full.own == 1 or tonumber(full.patience_ns) > LONGEST_WAIT then
    return false
  end
  local time = now()
  if not full_since then
    full_since = time
  end
  if (time - full_since) * 1e9 < tonumber(full.patience_ns) then
    return false
  end
  full_since = nil
  return true
end

--- Posts an event. Returns its id, or nil, an error, and the library's number of it.
function _M.post(handle, timeout_ns, source, event, data, unique, given)
  local payload, err = "", nil
  if data ~= nil then
    payload, err = encode(data)
    if not payload then
      return nil, err
    end
  end
  local key, options
  if unique then
    key, err = key_of(unique)
    if not key then
      return nil, err
    end
    options = unique_options
    options.key, options.key_len, options.ttl_ns = key, #key, timeout_ns
  end
  if given ~= nil then
    options, err = options_of(given, key, timeout_ns)
    if not options then
      return nil, err
    end
  end
  local result = C.seqcast_seat_try_post(handle, source, #source, event, #event, payload, #payload, options, posted_id)
  if result == FULL and waits_for_once() then
    result = C.seqcast_seat_post(handle, source, #source, event, #event, payload, #payload, options, posted_id)
  end
  if result < 0 then
    return nil, ffi_string(C.seqcast_error_message()), result
  end
  full_since = nil
  return tonumber(posted_id[0])
end

--- Clears the retained event of a topic and a key. Returns the id of the event that tells so, false if there was none,
-- or nil and an error.
function _M.clear(handle, source, event, key)
  local result = C.seqcast_seat_try_clear(handle, source, #source, event, #event, key, #key, posted_id)
  if result == FULL and waits_for_once() then
    result = C.seqcast_seat_clear(handle, source, #source, event, #event, key, #key, posted_id)
  end
  if result < 0 then
    return nil, ffi_string(C.seqcast_error_message())
  end
  full_since = nil
  return result == 1 and tonumber(posted_id[0])
end

return _M
