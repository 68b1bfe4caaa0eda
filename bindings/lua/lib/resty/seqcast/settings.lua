--- The options of `configure`: those of lua-resty-worker-events, with its error texts, and additional ones.

local ipairs = ipairs
local type = type

local NUMBERS = {
  { name = "timeout", default = 2, rule = "greater than 0", is_positive = true },
  { name = "interval", default = 1, rule = "greater than or equal to 0" },
  { name = "wait_interval", default = 0.010, rule = "greater than or equal to 0" },
  { name = "wait_max", default = 0.5, rule = "greater than or equal to 0" },
  { name = "must_read", default = 0, rule = "greater than or equal to 0" },
  -- Checked but unused: the memory does not fragment.
  { name = "shm_retries", default = 999, rule = "0 or greater" },
}

local BOOLEANS = {
  { name = "unlink", default = true },
  { name = "wake", default = true },
  { name = "resync", default = false },
}

local STARTS = { now = true, retained = true }

-- Options of the seat that a worker cannot change once it has joined.
local OF_SEAT = { "must_read", "resync", "start" }

-- Options of a new segment, instead of the values that follow from the size of the zone.
local OF_SEGMENT = {
  "capacity", "block_size", "claims", "seats", "mode", "owner", "retained", "retained_size", "large_blocks",
  "large_size", "most_patience", "relay_hosts",
}

-- In nanoseconds: about 290 years.
local FARTHEST = 9.2e18

local function check_number(it, value)
  local name = it.name
  if type(value) ~= "number" then
    return 'optional "' .. name .. '" option must be a number'
  elseif value ~= value then
    return '"' .. name .. '" must not be nan'
  elseif value < 0 or it.is_positive and value == 0 then
    return '"' .. name .. '" must be ' .. it.rule
  end
end

--- Returns the options in effect after `given` changes `before`, or nil and an error.
local function checked(given, before)
  local result = { shm = given.shm or before.shm, segment = given.segment or before.segment }
  if result.segment and type(result.segment) ~= "string" then
    return nil, 'optional "segment" option must be a string'
  end
  for _, it in ipairs(NUMBERS) do
    local value = given[it.name] or before[it.name] or it.default
    local problem = check_number(it, value)
    if problem then
      return nil, problem
    end
    result[it.name] = value
  end
  local ns = result.timeout * 1e9
  result.timeout_ns = ns > FARTHEST and FARTHEST or ns < 1 and 1 or ns
  for _, it in ipairs(BOOLEANS) do
    local value = given[it.name]
    if value == nil then
      value = before[it.name]
    end
    if value == nil then
      value = it.default
    end
    if type(value) ~= "boolean" then
      return nil, 'optional "' .. it.name .. '" option must be a boolean'
    end
    result[it.name] = value
  end
  result.start = given.start or before.start or "now"
  if not STARTS[result.start] then
    return nil, 'optional "start" option must be "now" or "retained"'
  end
  result.of_segment = before.of_segment
  if not result.of_segment then
    result.of_segment = {}
    for _, name in ipairs(OF_SEGMENT) do
      result.of_segment[name] = given[name]
    end
  end
  return result
end

--- Returns the name of an option that differs and that a worker cannot change once it has joined, or nil.
local function fixed(wanted, before)
  for _, name in ipairs(OF_SEAT) do
    if wanted[name] ~= before[name] then
      return name
    end
  end
end

return { checked = checked, fixed = fixed }
