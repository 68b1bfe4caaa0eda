--- Deliveries as tables.

local ffi = require "ffi"
local library = require "resty.seqcast.library"

local format = string.format
local tonumber = tonumber
local ffi_new = ffi.new
local ffi_string = ffi.string

local C = library.C

local kinds = {
  [tonumber(C.SEQCAST_EVENT)] = "event",
  [tonumber(C.SEQCAST_LAGGED)] = "lagged",
  [tonumber(C.SEQCAST_RESERVED)] = "reserved",
  [tonumber(C.SEQCAST_UNDECIDED)] = "undecided",
  [tonumber(C.SEQCAST_UNREADABLE)] = "unreadable",
  [tonumber(C.SEQCAST_CLEARED)] = "cleared",
  [tonumber(C.SEQCAST_RESET)] = "reset",
  [tonumber(C.SEQCAST_UP_TO_DATE)] = "up_to_date",
  [tonumber(C.SEQCAST_MISSED)] = "missed",
}
local EVENT = tonumber(C.SEQCAST_EVENT)
local CLEARED = tonumber(C.SEQCAST_CLEARED)

local reasons = {
  [tonumber(C.SEQCAST_REASON_CLAIMS_FULL)] = "claims_full",
  [tonumber(C.SEQCAST_REASON_LATE)] = "late",
}

-- Why events were lost between hosts.
local missed_reasons = {
  [tonumber(C.SEQCAST_MISSED_TRIMMED)] = "trimmed",
  [tonumber(C.SEQCAST_MISSED_ORIGIN_LAPPED)] = "origin_lapped",
  [tonumber(C.SEQCAST_MISSED_CATCH_UP)] = "catch_up",
  [tonumber(C.SEQCAST_MISSED_ENGINE_LOST)] = "engine_lost",
  [tonumber(C.SEQCAST_MISSED_UNDECIDED)] = "undecided",
  [tonumber(C.SEQCAST_MISSED_TOO_LARGE)] = "too_large",
  [tonumber(C.SEQCAST_MISSED_FORMAT)] = "format",
}

--- Returns the text form of an origin: 16 hexadecimal digits.
local function origin_text(bits)
  return format("%08x%08x", tonumber(bits / 0x100000000ULL), tonumber(bits % 0x100000000ULL))
end

--- Adds where a delivery or a seen event comes from, if it came through a relay.
local function add_origin(to, it)
  if it.has_origin == 1 then
    to.origin = origin_text(it.origin)
    to.cluster_timeline, to.cluster_n = tonumber(it.cluster_timeline), tonumber(it.cluster_n)
  end
  return to
end

--- Adds how many events were lost between hosts, why, and of which host they were, if that is known.
local function add_missed(to, it)
  to.reason = missed_reasons[it.missed_reason]
  to.origin = it.has_origin == 1 and origin_text(it.origin) or nil
  return to
end

--- Returns a delivery as a table.
local function of(it)
  local id = tonumber(it.id)
  if it.kind ~= EVENT and it.kind ~= CLEARED then
    local delivery = {
      kind = kinds[it.kind] or "other",
      id = id,
      missed = it.missed > 0 and tonumber(it.missed) or nil,
      cut_off = it.cut_off == 1 or nil,
      own = it.own == 1 or nil,
      reason = reasons[it.reason],
    }
    return delivery.kind == "missed" and add_missed(delivery, it) or delivery
  end
  return add_origin({
    kind = kinds[it.kind],
    id = id,
    source = ffi_string(it.source, it.source_len),
    event = ffi_string(it.event, it.event_len),
    payload = it.kind == EVENT and ffi_string(it.payload, it.payload_len) or nil,
    retained_key = it.retained == 1 and ffi_string(it.retained_key, it.retained_key_len) or nil,
    handed_over = it.handed_over == 1 or nil,
    pid = it.pid,
    seat = it.seat,
    own = it.own == 1,
    type_tag = it.type_tag ~= 0 and it.type_tag or nil,
    claim = it.unique == 1 and ffi_new("seqcast_claim", it.claim) or nil,
    bridged = it.bridged == 1 or nil,
  }, it)
end

return { of = of, origin_text = origin_text, add_origin = add_origin, add_missed = add_missed }
