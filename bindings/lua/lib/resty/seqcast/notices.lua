--- What an nginx worker gets besides events: what it has missed, what was cleared, and that it is up to date. Handlers
-- get them as events of the library's own source.

local ffi = require "ffi"
local deliveries = require "resty.seqcast.delivery"
local library = require "resty.seqcast.library"

local ffi_string = ffi.string
local format = string.format
local log = ngx.log
local tonumber = tonumber

local ERR = ngx.ERR

local C = library.C

local CLAIMS_FULL = tonumber(C.SEQCAST_REASON_CLAIMS_FULL)

-- Each runs the handlers for a delivery of its kind, or logs it.
local by_kind = {
  [tonumber(C.SEQCAST_LAGGED)] = function(it, registry, events)
    local first, missed = tonumber(it.id), tonumber(it.missed)
    local cut_off = it.cut_off == 1 or nil
    log(ERR, "worker-events: missed ", format("%d", missed), " events from id ", format("%d", first),
        " on, they were overwritten before this worker polled", cut_off and ", although posts waited for it" or "",
        ": poll more often, or use a larger shm")
    registry:run({ first = first, missed = missed, cut_off = cut_off }, events.missed, events._source, nil)
  end,
  [tonumber(C.SEQCAST_MISSED)] = function(it, registry, events)
    local data = deliveries.add_missed({ first = tonumber(it.id) }, it)
    data.missed = it.missed > 0 and tonumber(it.missed) or nil
    log(ERR, "worker-events: ", data.missed and format("%d", data.missed) or "an unknown number of", " events",
        data.origin and " of host " .. data.origin or "", " did not reach this host: ", data.reason or "unknown")
    registry:run(data, events.missed, events._source, nil)
  end,
  [tonumber(C.SEQCAST_UNDECIDED)] = function(it)
    local reason = "this worker polled too late: poll more often, or use a longer timeout"
    if it.reason == CLAIMS_FULL then
      reason = "there are too many unique keys: use a larger shm, or a shorter timeout"
    end
    log(ERR, "worker-events: cannot determine who handles event ", format("%d", tonumber(it.id)), ", dropping it: ",
        reason)
  end,
  [tonumber(C.SEQCAST_UNREADABLE)] = function(it)
    log(ERR, "worker-events: dropping event ", format("%d", tonumber(it.id)),
        ", which no program of this library has written")
  end,
  [tonumber(C.SEQCAST_CLEARED)] = function(it, registry, events)
    local data = {
      source = ffi_string(it.source, it.source_len),
      event = ffi_string(it.event, it.event_len),
      key = ffi_string(it.retained_key, it.retained_key_len),
    }
    registry:run(data, events.cleared, events._source, it.pid)
  end,
  [tonumber(C.SEQCAST_RESET)] = function(_, registry, events)
    registry:run(nil, events.reset, events._source, nil)
  end,
  [tonumber(C.SEQCAST_UP_TO_DATE)] = function(_, registry, events)
    registry:run(nil, events.up_to_date, events._source, nil)
  end,
}

--- Handles a delivery that is not an event.
local function notice(it, registry, events)
  local run = by_kind[it.kind]
  if run then
    run(it, registry, events)
  end
end

return notice
