--- Values as JSON, with all digits of their numbers. cjson writes 14 digits, which is not enough for 2^53 or 1/3.
--
-- Most strings need no escapes. They are encoded and decoded without cjson, which takes 10 ns per byte.

local cjson = require("cjson.safe").new()
local ffi = require "ffi"

local find = string.find
local floor = math.floor
local format = string.format
local getmetatable = getmetatable
local gsub = string.gsub
local pairs = pairs
local setmetatable = setmetatable
local tonumber = tonumber
local type = type
local byte = string.byte
local char = string.char
local encode = cjson.encode
local decode = cjson.decode
local sub = string.sub

if not pcall(function() return ffi.C.strcspn end) then
  ffi.cdef "size_t strcspn(const char *text, const char *reject);"
end

-- 0 is not in the list, because `strcspn` stops there anyway.
local ESCAPED = '"\\'
for code = 1, 31 do
  ESCAPED = ESCAPED .. char(code)
end

local QUOTE = byte('"')

--- Returns true if cjson would round the number.
local function is_rounded(number)
  if floor(number) == number and number < 1e14 and number > -1e14 then
    return false
  end
  return tonumber(format("%.14g", number)) ~= number
end

local function has_rounded(value)
  local kind = type(value)
  if kind == "number" then
    return is_rounded(value)
  end
  if kind == "table" then
    for _, inner in pairs(value) do
      local inner_kind = type(inner)
      if (inner_kind == "table" or inner_kind == "number") and has_rounded(inner) then
        return true
      end
    end
  end
  return false
end

--- Returns the number with the fewest digits that are read as the same number.
local function exact(number)
  local text = format("%.15g", number)
  if tonumber(text) ~= number then
    text = format("%.16g", number)
    if tonumber(text) ~= number then
      text = format("%.17g", number)
    end
  end
  return text
end

--- Returns a copy of `value`, with marks (strings) for the numbers that cjson would round.
local function with_marks(value, mark, numbers)
  local kind = type(value)
  if kind == "number" and is_rounded(value) then
    numbers[#numbers + 1] = exact(value)
    return mark .. #numbers
  end
  if kind ~= "table" then
    return value
  end
  local copy = setmetatable({}, getmetatable(value))
  for key, inner in pairs(value) do
    copy[key] = with_marks(inner, mark, numbers)
  end
  return copy
end

local function encode_exactly(value, text)
  -- The mark must not occur in the value's strings.
  local mark = "#number#"
  while find(text, mark, 1, true) do
    mark = mark .. "#"
  end
  local numbers = {}
  text = encode(with_marks(value, mark, numbers))
  return (gsub(text, '"' .. mark .. '(%d+)"', function(index) return numbers[tonumber(index)] end))
end

local _M = {}

--- Returns the JSON of a value, or nil and cjson's error.
function _M.encode(value)
  local kind = type(value)
  if kind == "string" and ffi.C.strcspn(value, ESCAPED) == #value then
    return '"' .. value .. '"'
  end
  local text, err = encode(value)
  if not text then
    return nil, err
  end
  if (kind == "table" or kind == "number") and has_rounded(value) then
    return encode_exactly(value, text)
  end
  return text
end

--- Returns the value of a JSON text, or nil and cjson's error.
function _M.decode(text)
  local len = #text
  -- A string without escapes: the first quote after the opening one is the last byte.
  if len > 1 and byte(text) == QUOTE and ffi.C.strcspn(ffi.cast("const char *", text) + 1, ESCAPED) == len - 2
      and byte(text, len) == QUOTE then
    return sub(text, 2, len - 1)
  end
  return decode(text)
end

return _M
