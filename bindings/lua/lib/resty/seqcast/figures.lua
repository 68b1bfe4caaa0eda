--- Figures by name.

local ffi = require "ffi"
local library = require "resty.seqcast.library"

local tonumber = tonumber
local ffi_gc = ffi.gc
local ffi_new = ffi.new
local ffi_string = ffi.string

local C = library.C
local failure = library.failure
local text_of = library.text_of
local stats_free = C.seqcast_stats_free

--- Returns all figures of the snapshot that `open(handle, out)` makes: those of the segment, and `workers`, an array
-- with the figures of each worker.
local function figures(open, handle)
  local out = ffi_new("seqcast_stats *[1]")
  local result = open(handle, out)
  if result < 0 then
    return failure(result)
  end
  local stats = ffi_gc(out[0], function(it) stats_free(it) end)
  local name, value = ffi_new("const char *[1]"), ffi_new("uint64_t[1]")
  local function row(index)
    local label, problem, code = text_of(function(buffer, capacity)
      return C.seqcast_stats_label(stats, index, buffer, capacity)
    end)
    if not label then
      return nil, problem, code
    end
    local found, at = { label = label }, 0
    while C.seqcast_stats_at(stats, index, at, name, value) == 1 do
      found[ffi_string(name[0])] = tonumber(value[0])
      at = at + 1
    end
    return found
  end
  local all = row(0)
  all.name, all.label, all.workers = all.label, nil, {}
  for index = 1, C.seqcast_stats_rows(stats) - 1 do
    all.workers[index] = row(index)
  end
  ffi_gc(stats, nil)
  stats_free(stats)
  return all
end

return figures
