--- libseqcast, and the code that all its callers share.

local ffi = require "ffi"

local concat = table.concat
local error = error
local format = string.format
local getmetatable = getmetatable
local ipairs = ipairs
local pcall = pcall
local setmetatable = setmetatable
local tonumber = tonumber
local tostring = tostring
local type = type
local ffi_gc = ffi.gc
local ffi_new = ffi.new
local ffi_string = ffi.string

local cdef = require "resty.seqcast.cdef"
if not pcall(ffi.typeof, "seqcast_delivery") then
  ffi.cdef(cdef.text)
end

--- Returns the places to search for the library, in order: beside the folder `resty`, in the folders of
-- `package.cpath`, and in the system's library folders.
local function places()
  local list = {}
  local here = debug.getinfo(1, "S").source:match("^@(.*)resty/seqcast/library%.lua$")
  if here then
    list[#list + 1] = here .. "libseqcast.so"
  end
  for template in package.cpath:gmatch("[^;]+") do
    local folder = template:match("^(.*/)[^/]*%?")
    if folder and not folder:find("?", 1, true) then
      list[#list + 1] = folder .. "libseqcast.so"
    end
  end
  list[#list + 1] = "libseqcast.so.0"
  return list
end

local function load()
  local reasons = {}
  for _, place in ipairs(places()) do
    local ok, library = pcall(ffi.load, place)
    if ok then
      return library
    end
    reasons[#reasons + 1] = "\n\t" .. tostring(library)
  end
  error("libseqcast was not found: install it, or add its folder to lua_package_cpath" .. concat(reasons), 3)
end

local C = load()

do
  local found = tonumber(C.seqcast_abi())
  if found ~= cdef.abi then
    error(format("libseqcast has version %d of its interface, and this module needs %d: install both from one release",
                 found, cdef.abi), 2)
  end
end

-- Results

local NAME_BYTES = 256
local name_buffer = ffi_new("char[?]", NAME_BYTES)

--- Returns the text that `copy(buffer, capacity)` copies, at any length.
local function text_of(copy)
  local capacity, buffer = NAME_BYTES, name_buffer
  while true do
    local len = copy(buffer, capacity)
    if len < 0 then
      return nil, len
    end
    if len < capacity then
      return ffi_string(buffer, len)
    end
    capacity = len + 1
    buffer = ffi_new("char[?]", capacity)
  end
end

local function code_of(result)
  return text_of(function(buffer, capacity) return C.seqcast_error_code(result, buffer, capacity) end)
end

--- Returns the results of a failed call: nil, the message, and the error's code.
local function failure(result)
  local message = ffi_string(C.seqcast_error_message())
  return nil, message, code_of(result)
end

--- Returns an array of what `convert` makes of the elements of the list that `open(handle, out)` makes. `kind` has the
-- types of the list and of its elements, and the functions that return an element and free the list.
local function list_of(kind, open, handle, convert)
  local out = ffi.new(kind.out)
  local result = open(handle, out)
  if result < 0 then
    return failure(result)
  end
  local free = kind.free
  local found = ffi.gc(out[0], function(it) free(it) end)
  local at, element, elements = kind.at, ffi.new(kind.element), {}
  while at(found, #elements, element) == 1 do
    elements[#elements + 1] = convert(element[0])
  end
  ffi.gc(found, nil)
  free(found)
  return elements
end

local FULL = tonumber(C.SEQCAST_E_FULL)
local full = ffi_new("seqcast_full")

--- Returns the results of a failed call that does not wait for room: nil, `"full"`, and which seat has no room, or
-- those of `failure`.
local function full_or_failure(result)
  if result ~= FULL or C.seqcast_error_full(full) ~= 1 then
    return failure(result)
  end
  return nil, "full", {
    seat = full.seat,
    pid = full.pid,
    label = ffi_string(full.label),
    lag = tonumber(full.lag),
    patience = tonumber(full.patience_ns) / 1e9,
    own = full.own == 1,
  }
end

--- Returns the text that a function of the library copies for an object's handle.
local function text(copy, handle)
  local found, result = text_of(function(buffer, capacity) return copy(handle, buffer, capacity) end)
  if found then
    return found
  end
  return failure(result)
end

--- Returns the results of a call that only succeeds or fails.
local function done(result)
  if result < 0 then
    return failure(result)
  end
  return true
end

--- Returns the results of a call that answers 0 or 1.
local function truth(result)
  if result < 0 then
    return failure(result)
  end
  return result == 1
end

-- Arguments. An error names the line that called the public function.

local function bad(number, call, what)
  error(format("bad argument #%d to '%s' (%s)", number, call, what), 3)
end

local function typed(value, wanted, number, call)
  if type(value) ~= wanted then
    error(format("bad argument #%d to '%s' (%s expected, got %s)", number, call, wanted,
                 value == nil and "no value" or type(value)), 3)
  end
end

-- Objects. Each has a handle, which is freed with it. The library checks handles, so a call with a freed one returns an
-- error.

-- `free` is the C function itself, not looked up later: when a Lua VM is closed, the library's table may be closed
-- before its objects. The library stays in memory.
local function object(class, handle, free)
  return setmetatable({ handle = ffi_gc(handle, function(it) free(it) end) }, class)
end

local function free_object(self, free)
  local handle = self.handle
  ffi_gc(handle, nil)
  return done(free(handle))
end

--- Returns the handle of the object that a method was called on.
local function handle_of(self, class, call)
  if type(self) ~= "table" or getmetatable(self) ~= class then
    error(format("bad argument #1 to '%s' (use it as a method: object:%s())", call, call), 3)
  end
  return self.handle
end


return {
  C = C,
  text_of = text_of,
  failure = failure,
  full_or_failure = full_or_failure,
  list_of = list_of,
  text = text,
  done = done,
  truth = truth,
  bad = bad,
  typed = typed,
  object = object,
  free_object = free_object,
  handle_of = handle_of,
}
