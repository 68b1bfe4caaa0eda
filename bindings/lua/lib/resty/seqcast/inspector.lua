--- Inspection of a segment, without a seat.

local ffi = require "ffi"
local claims = require "resty.seqcast.claims"
local deliveries = require "resty.seqcast.delivery"
local figures = require "resty.seqcast.figures"
local library = require "resty.seqcast.library"
local options = require "resty.seqcast.options"
local retained = require "resty.seqcast.retained"

local tonumber = tonumber
local ffi_new = ffi.new
local ffi_string = ffi.string

local C = library.C
local failure = library.failure
local free_object = library.free_object
local handle_of = library.handle_of
local object = library.object
local truth = library.truth
local options_of = options.options_of

local Inspector = {}
Inspector.__index = Inspector
local Tail = {}
Tail.__index = Tail

local inspector_free = C.seqcast_inspector_free
local tail_free = C.seqcast_tail_free

--- Returns an object for the library's handle.
local function new(handle)
  return object(Inspector, handle, inspector_free)
end

--- Frees the handle.
function Inspector:free()
  handle_of(self, Inspector, "free")
  return free_object(self, inspector_free)
end

--- Returns all figures, like `bus:stats()`.
function Inspector:stats()
  return figures(C.seqcast_inspector_stats, handle_of(self, Inspector, "stats"))
end

--- Returns true if the name still leads to this segment.
function Inspector:is_current()
  return truth(C.seqcast_inspector_is_current(handle_of(self, Inspector, "is_current")))
end

--- Returns an array of all retained events, like `seat:retained()`.
function Inspector:retained()
  return retained.list(C.seqcast_inspector_retained, handle_of(self, Inspector, "retained"))
end

--- Returns an array of the keys that are held, and of those whose last decision the segment remembers. Each is a table
-- with `key_hash` (see `bus:key_hash`), `kind` ("alone" or "event"), `left` in seconds, which is 0 if the key is free,
-- `since`, `seat`, `pid`, `label`, `winner` ("alive", "dead" or "gone"), `ends_with_holder`, `claim`, which
-- `seat:release` takes, and, for events, `first_id` and `last_id`.
function Inspector:claims()
  return claims.list(handle_of(self, Inspector, "claims"))
end

--- Returns a reader of all events that takes no seat. Options: `start`, `patience` in seconds, `payloads`.
function Inspector:tail(given)
  local handle = handle_of(self, Inspector, "tail")
  local struct = options_of("seqcast_tail_options", given, 1, "tail")
  local out = ffi_new("seqcast_tail *[1]")
  local result = C.seqcast_inspector_tail(handle, struct, out)
  if result < 0 then
    return failure(result)
  end
  local tail = object(Tail, out[0], tail_free)
  tail.out = ffi_new("const seqcast_seen *[1]")
  return tail
end

local seen_kinds = {
  [tonumber(C.SEQCAST_SEEN_EVENT)] = "event",
  [tonumber(C.SEQCAST_SEEN_GAP)] = "gap",
  [tonumber(C.SEQCAST_SEEN_VOID)] = "void",
  [tonumber(C.SEQCAST_SEEN_PASSED_OVER)] = "passed_over",
  [tonumber(C.SEQCAST_SEEN_HEADLESS)] = "headless",
  [tonumber(C.SEQCAST_SEEN_UNREADABLE)] = "unreadable",
  [tonumber(C.SEQCAST_SEEN_MISSED)] = "missed",
}
local SEEN_EVENT = tonumber(C.SEQCAST_SEEN_EVENT)

--- Adds how an event is unique or retained, and where it comes from.
local function add_details(seen, it)
  seen.unique, seen.large = it.unique == 1, it.large == 1
  seen.ttl = it.ttl_ns > 0 and tonumber(it.ttl_ns) / 1e9 or nil
  if it.retained == 1 then
    seen.retained_key, seen.clears = ffi_string(it.retained_key, it.retained_key_len), it.clears == 1
  end
  if it.request == 1 then
    seen.request = true
  end
  if it.has_origin == 1 then
    deliveries.add_origin(seen, it)
    seen.origin_id = tonumber(it.origin_id)
  end
end

--- Returns the next item as a table with a `kind`, or nil if there is nothing new.
--
-- `"event"`: `id`, `source`, `event`, `len`, `payload`, `pid`, `seat`, `unique`, `large`, `ttl` in seconds, for a
-- retained event `retained_key` and `clears`, `request` if it is one to the relay, and for an event of a relay
-- `origin`, `origin_id`, `cluster_timeline` and `cluster_n`. The other kinds are "gap", "missed", "void",
-- "passed_over", "headless" and "unreadable".
function Tail:next()
  local handle, out = handle_of(self, Tail, "next"), self.out
  local result = C.seqcast_tail_next(handle, out)
  if result < 0 then
    return failure(result)
  end
  if result == 0 then
    return nil
  end
  local it = out[0]
  local seen = { kind = seen_kinds[it.kind] or "other", id = tonumber(it.id) }
  if it.missed > 0 then
    seen.missed = tonumber(it.missed)
  end
  if it.kind == SEEN_EVENT then
    seen.source, seen.event = ffi_string(it.source, it.source_len), ffi_string(it.event, it.event_len)
    seen.len, seen.payload = tonumber(it.len), ffi_string(it.payload, it.payload_len)
    seen.pid, seen.seat = it.pid, it.seat
    add_details(seen, it)
  elseif seen.kind == "missed" then
    deliveries.add_missed(seen, it)
  end
  return seen
end

--- Frees the handle.
function Tail:free()
  handle_of(self, Tail, "free")
  return free_object(self, tail_free)
end

return { new = new }
