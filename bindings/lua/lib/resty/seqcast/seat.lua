--- A seat on the bus, which reads and posts.

local ffi = require "ffi"
local delivery_of = require("resty.seqcast.delivery").of
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

local C = library.C
local bad = library.bad
local done = library.done
local failure = library.failure
local free_object = library.free_object
local full_or_failure = library.full_or_failure
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

-- Called by tail calls, which leave no frame, so that errors name the caller's line. So are the functions below that
-- get the name of a call.
local function post_by(call, name, failed, self, source, event, payload, given)
  local handle = handle_of(self, Seat, name)
  typed(source, "string", 1, name)
  typed(event, "string", 2, name)
  if payload == nil then
    payload = ""
  end
  typed(payload, "string", 3, name)
  local struct = options_of("seqcast_post_options", given, 4, name)
  local id = self.id
  local result = C[call](handle, source, #source, event, #event, payload, #payload, struct, id)
  if result < 0 then
    return failed(result)
  end
  return tonumber(id[0])
end

--- Posts an event to all seats. Returns its id.
--
-- Options: `key`, which makes the event unique for `ttl` seconds; `type_tag`; `retain`, which is true or a key;
-- `cluster`, which delivers the event on all hosts, in one order. Without a relay on this host, the code of the error
-- is then `"no_relay"`.
--
-- With `retain` the event is kept as the last one of its topic and key, until a later one takes its place, it is
-- cleared, or `ttl` seconds have passed. If the key has no place, the code of the error is `"retained_full"`.
--
-- If there are seats that must read, it waits until there is room, for at most the patience of the slowest, and blocks
-- the whole process meanwhile. In nginx use `try_post`.
function Seat:post(source, event, payload, given)
  return post_by("seqcast_seat_post", "post", failure, self, source, event, payload, given)
end

--- Like `post`, but never waits. If a seat that must read has no room for the event, returns nil, `"full"`, and a table
-- with that seat's `seat`, `pid` and `label`, its `lag` in ids, its `patience` in seconds, and `own`, which is true if
-- it is this seat, which has to read first.
function Seat:try_post(source, event, payload, given)
  return post_by("seqcast_seat_try_post", "try_post", full_or_failure, self, source, event, payload, given)
end

local function for_key(call, name, answer, self, source, event, key)
  local handle = handle_of(self, Seat, name)
  typed(source, "string", 1, name)
  typed(event, "string", 2, name)
  if key == nil then
    key = ""
  end
  typed(key, "string", 3, name)
  local out = call == "seqcast_seat_get" and self.found or self.id
  return answer(C[call](handle, source, #source, event, #event, key, #key, out), out)
end

local function found_answer(result, found)
  if result < 0 then
    return failure(result)
  end
  return result == 1 and retained.event_of(found[0]) or nil
end

local function cleared_answer(result, id)
  if result < 0 then
    return failure(result)
  end
  return result == 1 and tonumber(id[0])
end

local function try_cleared_answer(result, id)
  if result < 0 then
    return full_or_failure(result)
  end
  return result == 1 and tonumber(id[0])
end

--- Looks up the retained event of a topic and a key or, without a key, the one that is retained by its topic alone.
-- Returns a table with `id`, `source`, `event`, `key`, `payload`, `pid`, `seat`, `type_tag`, and `left`, in seconds, if
-- it has a ttl. Returns nil if no event is retained there.
function Seat:get(source, event, key)
  return for_key("seqcast_seat_get", "get", found_answer, self, source, event, key)
end

--- Clears the retained event of a topic and a key. All seats get a delivery of the kind `"cleared"`. Returns its id, or
-- false if no event is retained there; then nothing is posted.
function Seat:clear(source, event, key)
  return for_key("seqcast_seat_clear", "clear", cleared_answer, self, source, event, key)
end

--- Like `clear`, but never waits for seats that must read: returns as `try_post` does instead.
function Seat:try_clear(source, event, key)
  return for_key("seqcast_seat_try_clear", "try_clear", try_cleared_answer, self, source, event, key)
end

--- Clears the retained event of a topic and a key on all hosts, by a request to this host's relay. Returns the id of
-- the request.
function Seat:clear_cluster(source, event, key)
  return for_key("seqcast_seat_clear_cluster", "clear_cluster", cleared_answer, self, source, event, key)
end

--- Returns an array of the retained events of every topic and key, in the order of their ids. They are tables as those
-- of `get`.
function Seat:retained()
  return retained.list(C.seqcast_seat_retained, handle_of(self, Seat, "retained"))
end

local function reserve_by(call, name, failed, self)
  local handle = handle_of(self, Seat, name)
  local result = C[call](handle, self.id)
  if result < 0 then
    return failed(result)
  end
  return tonumber(self.id[0])
end

--- Takes the next event id now, for an event whose payload comes later. Readers that reach the id wait, at most for
-- their `wait_max`. A seat holds one reservation: a new one gives up the one before. Returns the id. Waits for seats
-- that must read, as `post` does.
function Seat:reserve()
  return reserve_by("seqcast_seat_reserve", "reserve", failure, self)
end

--- Like `reserve`, but never waits for seats that must read: returns as `try_post` does instead.
function Seat:try_reserve()
  return reserve_by("seqcast_seat_try_reserve", "try_reserve", full_or_failure, self)
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

local NOTHING = tonumber(C.SEQCAST_NOTHING)

--- Returns the next delivery: a table with a `kind`, or nil if there is nothing new.
--
-- `"event"`: `id`, `source`, `event`, `payload`, `pid`, `seat`, `own`, `type_tag`, and `claim` if it is unique and this
-- seat has won it. A retained event has a `retained_key`, and `handed_over`, which is true if it was not delivered when
-- it was posted, but is the last of its key for a seat that has joined or missed events. An event that came through a
-- relay has an `origin`, the host that posted it, and its place in the order of all hosts: `cluster_timeline` and
-- `cluster_n`.
--
-- `"lagged"`: `id` and `missed`, and `cut_off`, which is true if posts had waited for this seat. `"missed"`: events
-- were lost between hosts: `missed` if the number is known, `reason`, and `origin` if they were those of one host.
--
-- `"reserved"`: the payload of `id` is not there yet; call `next` again later.
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

--- Holds the key of a claim for `ttl` seconds from now on. Returns true. If the claim has ended, returns nil, a text
-- and `"claim_lost"`.
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
