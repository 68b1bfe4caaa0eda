--- The segment of an nginx: its name, its sizes, and its removal.

local ffi = require "ffi"
local process = require "ngx.process"
local seqcast = require "resty.seqcast"

local byte = string.byte
local ffi_gc = ffi.gc
local floor = math.floor
local format = string.format
local io_open = io.open
local ipairs = ipairs
local max = math.max
local min = math.min
local newproxy = newproxy
local pairs = pairs
local getmetatable = getmetatable
local tonumber = tonumber

local _M = {}

-- Names

--- Returns the start time of a process, in clock ticks since boot. Returns nil if it does not run, "0" if the system
-- does not say.
local function start_time(pid)
  local file = io_open("/proc/" .. pid .. "/stat")
  if not file then
    return nil
  end
  local line = file:read("*a") or ""
  file:close()
  -- The second field is a name, which may contain any characters.
  local fields, at = line:match(".*%) (.*)") or "", 2
  for field in fields:gmatch("%S+") do
    at = at + 1
    if at == 3 and (field == "Z" or field == "X") then
      return nil
    elseif at == 22 then
      return field
    end
  end
  return "0"
end

--- Returns the name of the segment that all workers of this master share. It contains the master's pid and start time,
-- because pids are reused. After a binary upgrade there is another master, and another segment, as for
-- `lua_shared_dict`.
function _M.name(zone)
  local pid = process.get_master_pid() or ngx.worker.pid()
  local plain = zone:gsub("[^%w_-]", function(char) return format(".%02X", byte(char)) end)
  if #plain > 120 then
    plain = plain:sub(1, 100) .. format(".%08x", ngx.crc32_long(zone))
  end
  return format("nginx.%s.%d.%s", plain, pid, start_time(pid) or "0")
end

--- Removes the segments of nginx instances that were killed: their master is gone, and no worker is left.
local function sweep()
  for _, name in ipairs(seqcast.names() or {}) do
    local pid, started = name:match("^/nginx%..*%.(%d+)%.(%d+)$")
    if pid and start_time(pid) ~= started then
      -- Refused while any process has it open.
      seqcast.unlink_unheld(name)
    end
  end
end

-- Sizes

-- A block holds a source, an event and a small payload. Larger events take several blocks. A block has `STRIDE` bytes
-- with its head.
local BLOCK, STRIDE = 160, 192
local MIN_CAPACITY, MAX_CAPACITY = 8192, 524288
local MAX_BLOCK = 1048576
local MIN_CLAIMS = 8192
-- An old worker keeps its seat until its requests end, and nginx may be reloaded several times meanwhile.
local SEATS = 1024
-- The largest event is a quarter of the ring. A ring of four times the zone therefore takes every event that the zone
-- could hold. The ring has at most `LARGE` bytes, or the size of a larger zone.
local TIMES = 4
local LARGE = 64 * 1024 * 1024

local function with_capacity(sizes, capacity)
  sizes.capacity = capacity
  sizes.claims = max(MIN_CLAIMS, capacity / 4)
  return sizes
end

--- Returns the options of a new segment that replaces a zone of `bytes` bytes.
local function sizes_for(bytes)
  local ring = max(min(TIMES * bytes, LARGE), bytes)
  local capacity = MIN_CAPACITY
  while capacity < MAX_CAPACITY and capacity * STRIDE < ring do
    capacity = capacity * 2
  end
  local block = BLOCK
  if capacity * STRIDE < ring then
    block = min(floor(ring / capacity), MAX_BLOCK)
  end
  return with_capacity({ block_size = block, seats = SEATS }, capacity)
end

-- Opening

local function merged(sizes, options)
  local result = {}
  for name, value in pairs(sizes) do
    result[name] = value
  end
  for name, value in pairs(options) do
    result[name] = value
  end
  return result
end

--- Opens the segment, or creates it. If there is no room for the sizes that follow from the zone, creates a smaller
-- one.
local function open(name, bytes, options, log)
  local sizes = sizes_for(bytes)
  while true do
    local bus, err, code = seqcast.open_or_create(name, merged(sizes, options))
    local may_shrink = not options.capacity and sizes.capacity > MIN_CAPACITY
    if bus or code ~= "no_space" and code ~= "memory_limit" or not may_shrink then
      return bus, err
    end
    log(ngx.WARN, "worker-events: ", err, "; trying with half the capacity")
    with_capacity(sizes, sizes.capacity / 2)
  end
end

local function give_back(bus, unlink)
  if unlink then
    bus:unlink_if_last()
  else
    bus:free()
  end
end

--- Joins the bus `name`. Returns the bus and the seat, which `leave` takes.
--
-- `bytes` is the size of the zone, `options` are those of the segment, `seat_options` those of the seat.
function _M.join(name, bytes, options, seat_options, log)
  -- The last worker may remove the name meanwhile. Once this process has a seat, `is_current` shows if it did.
  for _ = 1, 100 do
    local bus, err = open(name, bytes, options, log)
    if not bus then
      return nil, err
    end
    local seat
    seat, err = bus:subscribe(seat_options)
    if not seat then
      give_back(bus, bus:was_created())
      return nil, err
    end
    if bus:is_current() then
      if bus:was_created() then
        sweep()
      else
        local differences = bus:differences()
        if differences and differences ~= "" then
          log(ngx.NOTICE, "worker-events: the segment ", name, " exists already, with other options: ", differences)
        end
      end
      -- When a Lua VM is closed, handles are freed before `at_exit` runs, and `at_exit` needs this one.
      ffi_gc(bus.handle, nil)
      return bus, seat
    end
    seat:free()
    bus:free()
  end
  return nil, "the segment " .. name .. " was removed again in each of 100 attempts"
end

--- Frees seat and bus. With `unlink`, the last process removes the name.
function _M.leave(bus, seat, unlink)
  seat:free()
  give_back(bus, unlink)
end

--- Calls `run` when this Lua VM is closed, for example at the end of a worker. nginx has no other hook for it.
function _M.at_exit(run)
  local guard = newproxy(true)
  getmetatable(guard).__gc = run
  return guard
end

return _M
