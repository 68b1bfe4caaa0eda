--- A seat on the bus, which reads and posts.

local ffi = require "ffi"
local library = require "resty.seqcast.library"
local options = require "resty.seqcast.options"
local retained = require "resty.seqcast.retained"

local error = error
local floor = math.floor
local format = string.format
local ipairs = ipairs
local tonumber = tonumber
local type = type
local ffi_new = ffi.new
local ffi_string = ffi.string

local C = library.C
local bad = library.bad
local done = library.done
local failure = library.failure
local free_object = library.free_object
local handle_of = library.handle_of
local object = library.object
local text = library.text
local truth = library.truth
local typed = library.typed
local nanoseconds = options.nanoseconds
local options_of = options.options_of

local Seat = {}
Seat.__index = Seat

local seat_free = C.seqcast_seat_free

--- Returns an object for the library's handle.
local function new(handle)
  local seat = object(Seat, handle, seat_free)
  seat.out = ffi_new("const seqcast_delivery *[1]")
  seat.id = ffi_new("uint64_t[1]")
  seat.found = ffi_new("const seqcast_retained *[1]")
  return seat
end

--- Leaves the bus and frees the handle.
function Seat:free()
  handle_of(self, Seat, "free")
  return free_object(self, seat_free)
end

--- Leaves the bus: posts `seqcast/stopping` and frees the seat for another process. Afterwards `next` still returns
-- unique events that were claimed before.
function Seat:leave()
  return done(C.seqcast_seat_leave(handle_of(self, Seat, "leave")))
end

--- Returns the number of the seat.
function Seat:number()
  local result = C.seqcast_seat_number(handle_of(self, Seat, "number"))
  if result < 0 then
    return failure(result)
  end
  return result
end

--- Posts an event to all seats. Returns its id.
--
-- Options: `key`, which makes the event unique for `ttl` seconds; `type_tag`; `retain`, which is true or a key.
--
-- With `retain` the event is kept as the last one of its topic and key, until a later one takes its place, it is
-- cleared, or `ttl` seconds have passed. If the key has no place, the code of the error is `"retained_full"`.
function Seat:post(source, event, payload, given)
  local handle = handle_of(self, Seat, "post")
  typed(source, "string", 1, "post")
  typed(event, "string", 2, "post")
  if payload == nil then
    payload = ""
  end
  typed(payload, "string", 3, "post")
  local struct = options_of("seqcast_post_options", given, 4, "post")
  local id = self.id
  local result = C.seqcast_seat_post(handle, source, #source, event, #event, payload, #payload, struct, id)
  if result < 0 then
    return failure(result)
  end
  return tonumber(id[0])
end

--- Looks up the retained event of a topic and a key or, without a key, the one that is retained by its topic alone.
-- Returns a table with `id`, `source`, `event`, `key`, `payload`, `pid`, `seat`, `type_tag`, and `left`, in seconds, if
-- it has a ttl. Returns nil if no event is retained there.
function Seat:get(source, event, key)
  local handle = handle_of(self, Seat, "get")
  typed(source, "string", 1, "get")
  typed(event, "string", 2, "get")
  if key == nil then
    key = ""
  end
  typed(key, "string", 3, "get")
  local found = self.found
  local result = C.seqcast_seat_get(handle, source, #source, event, #event, key, #key, found)
  if result < 0 then
    return failure(result)
  end
  if result == 0 then
    return nil
  end
  return retained.event_of(found[0])
end

--- Clears the retained event of a topic and a key. All seats get a delivery of the kind `"cleared"`. Returns its id, or
-- false if no event is retained there; then nothing is posted.
function Seat:clear(source, event, key)
  local handle = handle_of(self, Seat, "clear")
  typed(source, "string", 1, "clear")
  typed(event, "string", 2, "clear")
  if key == nil then
    key = ""
  end
  typed(key, "string", 3, "clear")
  local id = self.id
  local result = C.seqcast_seat_clear(handle, source, #source, event, #event, key, #key, id)
  if result < 0 then
    return failure(result)
  end
  return result == 1 and tonumber(id[0])
end

--- Returns an array of the retained events of every topic and key, in the order of their ids. They are tables as those
-- of `get`.
function Seat:retained()
  return retained.list(C.seqcast_seat_retained, handle_of(self, Seat, "retained"))
end

--- Takes the next event id now, for an event whose payload comes later. Readers that reach the id wait, at most for
-- their `wait_max`. A seat holds one reservation: a new one gives up the one before. Returns the id.
function Seat:reserve()
  local handle = handle_of(self, Seat, "reserve")
  local result = C.seqcast_seat_reserve(handle, self.id)
  if result < 0 then
    return failure(result)
  end
  return tonumber(self.id[0])
end

local function check_id(id, call)
  if type(id) ~= "number" or id < 0 or id ~= floor(id) or id > 2^53 then
    error(format("bad argument #1 to '%s' (an id expected)", call), 3)
  end
end

--- Makes an event visible at the reserved id. It must fit in one block or one large block. Options as for `post`.
-- Returns true. If the id was given up before, the code of the error is `"too_late"`.
function Seat:commit(id, source, event, payload, given)
  local handle = handle_of(self, Seat, "commit")
  check_id(id, "commit")
  typed(source, "string", 2, "commit")
  typed(event, "string", 3, "commit")
  if payload == nil then
    payload = ""
  end
  typed(payload, "string", 4, "commit")
  local struct = options_of("seqcast_post_options", given, 5, "commit")
  return done(C.seqcast_seat_commit(handle, id, source, #source, event, #event, payload, #payload, struct))
end

--- Gives up a reserved id. Returns true, or false if it was not reserved any more.
function Seat:abandon(id)
  local handle = handle_of(self, Seat, "abandon")
  check_id(id, "abandon")
  return truth(C.seqcast_seat_abandon(handle, id))
end

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
local NOTHING = tonumber(C.SEQCAST_NOTHING)
local EVENT = tonumber(C.SEQCAST_EVENT)
local CLEARED = tonumber(C.SEQCAST_CLEARED)

local reasons = {
  [tonumber(C.SEQCAST_REASON_CLAIMS_FULL)] = "claims_full",
  [tonumber(C.SEQCAST_REASON_LATE)] = "late",
}

--- Returns a delivery as a table.
local function delivery_of(it)
  local id = tonumber(it.id)
  if it.kind ~= EVENT and it.kind ~= CLEARED then
    return {
      kind = kinds[it.kind] or "other",
      id = id,
      missed = it.missed > 0 and tonumber(it.missed) or nil,
      own = it.own == 1 or nil,
      reason = reasons[it.reason],
    }
  end
  return {
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
  }
end

--- Returns the next delivery: a table with a `kind`, or nil if there is nothing new.
--
-- `"event"`: `id`, `source`, `event`, `payload`, `pid`, `seat`, `own`, `type_tag`, and `claim` if it is unique and this
-- seat has won it. A retained event has a `retained_key`, and `handed_over`, which is true if it was not delivered when
-- it was posted, but is the last of its key for a seat that has joined or missed events.
--
-- `"lagged"`: `id` and `missed`. `"reserved"`: the payload of `id` is not there yet; call `next` again later.
-- `"undecided"`: a unique event that must not run, with the `reason`. `"unreadable"`: there is no valid event at `id`.
--
-- `"cleared"`: no event is retained any more under `source`, `event` and `retained_key`. `"reset"`: everything that
-- this seat knows of retained events is void, and all of them follow. `"up_to_date"`: this seat has received every
-- retained event that it lacked.
--
-- With a timeout in seconds it waits, and blocks the whole process meanwhile. Do not pass one in nginx.
function Seat:next(timeout)
  local handle = handle_of(self, Seat, "next")
  local ns = 0
  if timeout ~= nil then
    typed(timeout, "number", 1, "next")
    if not (timeout >= 0) then
      bad(1, "next", "a number of seconds that is not negative expected")
    end
    ns = nanoseconds(timeout, 0)
  end
  local out = self.out
  local result = C.seqcast_seat_next(handle, ns, out)
  if result < 0 then
    return failure(result)
  end
  local it = out[0]
  if it.kind == NOTHING then
    return nil
  end
  return delivery_of(it)
end

--- Sleeps until `next` may return something new, for at most `timeout` seconds, and blocks the whole process meanwhile.
-- Returns true if there is something new.
function Seat:wait(timeout)
  local handle = handle_of(self, Seat, "wait")
  typed(timeout, "number", 1, "wait")
  if not (timeout >= 0) then
    bad(1, "wait", "a number of seconds that is not negative expected")
  end
  return truth(C.seqcast_seat_wait(handle, nanoseconds(timeout, 0)))
end

--- Changes how many seconds the seat waits for a reserved id before it gives up the id for all seats.
function Seat:set_wait_max(seconds)
  local handle = handle_of(self, Seat, "set_wait_max")
  typed(seconds, "number", 1, "set_wait_max")
  if not (seconds >= 0) then
    bad(1, "set_wait_max", "a number of seconds that is not negative expected")
  end
  return done(C.seqcast_seat_set_wait_max(handle, nanoseconds(seconds, 0)))
end

--- From now on, delivers only events of these sources, an array of strings.
function Seat:only_sources(sources)
  local handle = handle_of(self, Seat, "only_sources")
  typed(sources, "table", 1, "only_sources")
  local array = ffi_new("seqcast_text[?]", #sources)
  for index, source in ipairs(sources) do
    if type(source) ~= "string" then
      bad(1, "only_sources", "an array of strings expected")
    end
    array[index - 1].data, array[index - 1].len = source, #source
  end
  return done(C.seqcast_seat_only_sources(handle, array, #sources))
end

--- From now on, delivers only these events, an array of `{ source, event }`. `{ source }` is every event of the source,
-- and `{}` is every event.
function Seat:only(topics)
  local handle = handle_of(self, Seat, "only")
  typed(topics, "table", 1, "only")
  local array = ffi_new("seqcast_topic[?]", #topics)
  for index, topic in ipairs(topics) do
    local is_table = type(topic) == "table"
    local source, event = is_table and topic[1] or "", is_table and topic[2] or ""
    if not is_table or type(source) ~= "string" or type(event) ~= "string" then
      bad(1, "only", "an array of { source, event } expected")
    end
    local place = array[index - 1]
    place.source, place.source_len, place.event, place.event_len = source, #source, event, #event
  end
  return done(C.seqcast_seat_only(handle, array, #topics))
end

--- Returns the next id to be delivered.
function Seat:cursor()
  local handle = handle_of(self, Seat, "cursor")
  local result = C.seqcast_seat_cursor(handle, self.id)
  if result < 0 then
    return failure(result)
  end
  return tonumber(self.id[0])
end

--- Returns the position of the seat as a text. A later seat continues there with `start = { resume = position }`.
function Seat:position()
  return text(C.seqcast_seat_position, handle_of(self, Seat, "position"))
end

local WON = tonumber(C.SEQCAST_CLAIM_WON)
local HELD = tonumber(C.SEQCAST_CLAIM_HELD)

-- Called by tail calls, which leave no frame, so that errors name the caller's line.
local function claim_by(call, name, self, key, ttl)
  local handle = handle_of(self, Seat, name)
  typed(key, "string", 1, name)
  typed(ttl, "number", 2, name)
  if not (ttl > 0) then
    bad(2, name, "a number of seconds greater than zero expected")
  end
  local claim = ffi_new("seqcast_claim")
  local result = C[call](handle, key, #key, nanoseconds(ttl, 1), claim, self.id, nil)
  if result < 0 then
    return failure(result)
  end
  if result == WON then
    return claim
  end
  if result == HELD then
    return nil, "held", tonumber(self.id[0]) / 1e9
  end
  return nil, "full"
end

--- Claims a key among all seats for `ttl` seconds. Returns the claim if this seat wins it. If another seat holds the
-- key, returns nil, `"held"`, and the seconds until it is free. If the claims have no room, returns nil and `"full"`.
function Seat:claim(key, ttl)
  return claim_by("seqcast_seat_claim", "claim", self, key, ttl)
end

--- Like `claim`, but the claim also ends with its holder: after the process has ended, even by SIGKILL, or the seat has
-- left, the next claim of the key wins without waiting for the ttl.
function Seat:claim_for_life(key, ttl)
  return claim_by("seqcast_seat_claim_for_life", "claim_for_life", self, key, ttl)
end

local function extend_by(call, name, self, claim, ttl)
  local handle = handle_of(self, Seat, name)
  if not ffi.istype("seqcast_claim", claim) then
    bad(1, name, "a claim expected")
  end
  typed(ttl, "number", 2, name)
  if not (ttl > 0) then
    bad(2, name, "a number of seconds greater than zero expected")
  end
  local result = C[call](handle, claim, nanoseconds(ttl, 1))
  if result < 0 then
    return failure(result)
  end
  return true
end

--- Holds the key of a claim for `ttl` seconds from now on. Returns true. If the claim has ended, returns nil, a text and
-- `"claim_lost"`.
function Seat:renew(claim, ttl)
  return extend_by("seqcast_seat_renew", "renew", self, claim, ttl)
end

--- Completes a claim: its key stays held for `ttl` seconds, even if its holder ends.
function Seat:complete(claim, ttl)
  return extend_by("seqcast_seat_complete", "complete", self, claim, ttl)
end

--- Returns the seconds for which a claim is still held, or 0 if it has ended.
function Seat:claim_left(claim)
  local handle = handle_of(self, Seat, "claim_left")
  if not ffi.istype("seqcast_claim", claim) then
    bad(1, "claim_left", "a claim expected")
  end
  local result = C.seqcast_seat_claim_left(handle, claim, self.id)
  if result < 0 then
    return failure(result)
  end
  return tonumber(self.id[0]) / 1e9
end

--- Ends a claim before its ttl, also the claim of a unique event. Returns true, or false if it had ended.
function Seat:release(claim)
  local handle = handle_of(self, Seat, "release")
  if not ffi.istype("seqcast_claim", claim) then
    bad(1, "release", "a claim expected")
  end
  return truth(C.seqcast_seat_release(handle, claim))
end

return { new = new }
