--- Keys that are held, as tables.

local ffi = require "ffi"
local library = require "resty.seqcast.library"

local tonumber = tonumber
local ffi_new = ffi.new
local ffi_string = ffi.string

local C = library.C
local list_of = library.list_of

local LIST = {
  out = "seqcast_claim_list *[1]",
  element = "const seqcast_claim_entry *[1]",
  at = C.seqcast_claim_list_at,
  free = C.seqcast_claim_list_free,
}

local winners = {
  [tonumber(C.SEQCAST_WINNER_ALIVE)] = "alive",
  [tonumber(C.SEQCAST_WINNER_DEAD)] = "dead",
  [tonumber(C.SEQCAST_WINNER_GONE)] = "gone",
}
local claim_kinds = {
  [tonumber(C.SEQCAST_CLAIM_ALONE)] = "alone",
  [tonumber(C.SEQCAST_CLAIM_EVENT)] = "event",
}

--- Returns what a held key and an entry of a list have in common.
local function holder_of(it)
  return {
    left = tonumber(it.left_ns) / 1e9,
    since = tonumber(it.since_ns) / 1e9,
    seat = it.seat,
    pid = it.pid ~= 0 and it.pid or nil,
    label = ffi_string(it.label),
    winner = winners[it.winner],
    ends_with_holder = it.ends_with_holder == 1,
  }
end

local function entry_of(it)
  local entry = holder_of(it)
  entry.key_hash, entry.kind = ffi_string(it.key_hash), claim_kinds[it.kind] or "other"
  entry.claim = ffi_new("seqcast_claim", it.claim)
  if entry.kind == "event" then
    entry.first_id, entry.last_id = tonumber(it.first_id), tonumber(it.last_id)
  end
  return entry
end

--- Returns an array of the claims of an inspector.
local function list(handle)
  return list_of(LIST, C.seqcast_inspector_claims, handle, entry_of)
end

return { holder_of = holder_of, list = list }
