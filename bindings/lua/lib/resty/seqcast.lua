--- seqcast for LuaJIT: events between the processes of one host, through shared memory.
--
-- A function that can fail returns `nil`, a text that says what happened and what to do, and a short code such as
-- `"not_found"`. An argument of a wrong type is a Lua error.
--
--     local seqcast = require "resty.seqcast"
--
--     local bus = assert(seqcast.open_or_create("my-server"))
--     local seat = assert(bus:subscribe())
--     assert(seat:post("cache", "stale", "user:42"))
--     local delivery = seat:next()
--     print(delivery.source, delivery.event, delivery.payload)

local ffi = require "ffi"

local error = error
local floor = math.floor
local format = string.format
local getmetatable = getmetatable
local ipairs = ipairs
local pairs = pairs
local setmetatable = setmetatable
local tonumber = tonumber
local tostring = tostring
local type = type
local ffi_gc = ffi.gc
local ffi_new = ffi.new
local ffi_sizeof = ffi.sizeof
local ffi_string = ffi.string

local _M = { _VERSION = "0.1.0" }

local cdef = require "resty.seqcast.cdef"
if not pcall(ffi.typeof, "seqcast_delivery") then
  ffi.cdef(cdef.text)
end

-- Loading

--- Where the library may be, in order: beside this file, in the folders of `package.cpath`, where the system looks.
local function places()
  local list = {}
  local here = debug.getinfo(1, "S").source:match("^@(.*)resty/seqcast%.lua$")
  if here then
    list[#list + 1] = here .. "libseqcast.so"
  end
  for template in package.cpath:gmatch("[^;]+") do
    local folder = template:match("^(.*/)[^/]*%?")
    if folder and not folder:find("?", 1, true) then
      list[#list + 1] = folder .. "libseqcast.so"
    end
  end
  list[#list + 1] = "libseqcast.so.0"
  return list
end

local function load()
  local reasons = {}
  for _, place in ipairs(places()) do
    local ok, library = pcall(ffi.load, place)
    if ok then
      return library
    end
    reasons[#reasons + 1] = "\n\t" .. tostring(library)
  end
  error("libseqcast was not found: install it, or add its folder to lua_package_cpath" .. table.concat(reasons), 3)
end

local C = load()

do
  local found = tonumber(C.seqcast_abi())
  if found ~= cdef.abi then
    error(format("libseqcast has version %d of its interface, and this module needs %d: install both from one release",
                 found, cdef.abi), 2)
  end
end

-- What finalizers call: when a Lua VM is closed, the library may be closed before them. It stays in memory.
local bus_free = C.seqcast_bus_free
local seat_free = C.seqcast_seat_free
local stats_free = C.seqcast_stats_free
local inspector_free = C.seqcast_inspector_free
local tail_free = C.seqcast_tail_free

-- Results

local NAME_BYTES = 256
local name_buffer = ffi_new("char[?]", NAME_BYTES)

--- Copies a text by `copy(buffer, capacity)`, however long it is.
local function text_of(copy)
  local capacity, buffer = NAME_BYTES, name_buffer
  while true do
    local len = copy(buffer, capacity)
    if len < 0 then
      return nil, len
    end
    if len < capacity then
      return ffi_string(buffer, len)
    end
    capacity = len + 1
    buffer = ffi_new("char[?]", capacity)
  end
end

local function code_of(result)
  return text_of(function(buffer, capacity) return C.seqcast_error_code(result, buffer, capacity) end)
end

--- What a call that failed returns: nothing, what happened, and the short name of the error.
local function failure(result)
  local message = ffi_string(C.seqcast_error_message())
  return nil, message, code_of(result)
end

--- A text that a function of the library copies, for an object's handle.
local function text(copy, handle)
  local found, result = text_of(function(buffer, capacity) return copy(handle, buffer, capacity) end)
  if found then
    return found
  end
  return failure(result)
end

local function truth(result)
  if result < 0 then
    return failure(result)
  end
  return result == 1
end

-- Arguments

local function bad(number, call, what)
  error(format("bad argument #%d to '%s' (%s)", number, call, what), 3)
end

local function typed(value, wanted, number, call)
  if type(value) ~= wanted then
    error(format("bad argument #%d to '%s' (%s expected, got %s)", number, call, wanted,
                 value == nil and "no value" or type(value)), 3)
  end
end

local FARTHEST = 9.2e18

--- Seconds as nanoseconds. `least` is for where zero would mean the default.
local function nanoseconds(seconds, least)
  local ns = seconds * 1e9
  if ns > FARTHEST then
    return FARTHEST
  end
  return ns < least and least or floor(ns)
end

-- What an option's value must be, and where in the struct it goes.
local converters = {
  count = function(struct, field, value)
    if type(value) ~= "number" or value < 0 or value ~= floor(value) or value > 2^53 then
      return "must be a whole number"
    end
    struct[field] = value
  end,
  seconds = function(struct, field, value)
    if type(value) ~= "number" or not (value >= 0) then
      return "must be a number of seconds, and not negative"
    end
    struct[field .. "_ns"] = nanoseconds(value, 1)
  end,
  flag = function(struct, field, value)
    if type(value) ~= "boolean" then
      return "must be a boolean"
    end
    struct[field] = value and 1 or 0
  end,
  text = function(struct, field, value)
    if type(value) ~= "string" then
      return "must be a string"
    end
    struct[field] = value
    struct[field .. "_len"] = #value
  end,
  tag = function(struct, field, value)
    if type(value) ~= "number" and not ffi.istype("uint64_t", value) then
      return "must be a number or a uint64_t"
    end
    struct[field] = value
  end,
  owner = function(struct, _, value)
    local uid, gid = type(value) == "table" and value.uid, type(value) == "table" and value.gid
    if type(uid) ~= "number" or type(gid) ~= "number" then
      return "must be a table with the numbers uid and gid"
    end
    struct.set_owner, struct.owner_uid, struct.owner_gid = 1, uid, gid
  end,
  start = function(struct, _, value)
    if value == "now" or value == "oldest" then
      struct.start = value == "now" and C.SEQCAST_START_NOW or C.SEQCAST_START_OLDEST
      return
    end
    local rule = 'must be "now", "oldest", { at = id }, { after = id } or { resume = position }'
    if type(value) ~= "table" then
      return rule
    end
    if type(value.resume) == "string" then
      struct.start = C.SEQCAST_START_RESUME
      struct.start_position, struct.start_position_len = value.resume, #value.resume
      return
    end
    local id = value.at or value.after
    if type(id) ~= "number" or id < 0 or id ~= floor(id) then
      return rule
    end
    struct.start = value.at and C.SEQCAST_START_AT or C.SEQCAST_START_AFTER
    struct.start_id = id
  end,
}

local known_options = {
  seqcast_bus_options = {
    capacity = "count", block_size = "count", claims = "count", seats = "count", creation_timeout = "seconds",
    mode = "count", owner = "owner", strict = "flag", unlink_on_free = "flag", dump = "flag",
  },
  seqcast_seat_options = {
    label = "text", start = "start", wait_interval = "seconds", wait_max = "seconds", timeout = "seconds",
    silent = "flag",
  },
  seqcast_post_options = { type_tag = "tag", key = "text", ttl = "seconds" },
  seqcast_tail_options = { start = "start", patience = "seconds", payloads = "flag" },
}

--- Makes the struct `name` of a table of options. It leads to texts of the table, which must be there as long as it is
-- used.
local function options_of(name, options, number, call)
  if options == nil then
    return nil
  end
  if type(options) ~= "table" then
    error(format("bad argument #%d to '%s' (table of options expected, got %s)", number, call, type(options)), 3)
  end
  local known, struct = known_options[name], ffi_new(name)
  struct.size = ffi_sizeof(name)
  for option, value in pairs(options) do
    local kind = known[option]
    local problem = "is not known"
    if kind then
      problem = converters[kind](struct, option, value)
    end
    if problem then
      error(format("bad argument #%d to '%s' (option '%s' %s)", number, call, tostring(option), problem), 3)
    end
  end
  return struct
end

-- Objects: a handle that is freed with them. A handle is a number for the library, so that one that was freed is an
-- error of the call that gets it.

local function object(class, handle, free)
  return setmetatable({ handle = ffi_gc(handle, function(it) free(it) end) }, class)
end

local function free_object(self, free)
  local handle = self.handle
  ffi_gc(handle, nil)
  local result = free(handle)
  if result < 0 then
    return failure(result)
  end
  return true
end

--- The handle of an object that a method was called on.
local function handle_of(self, class, call)
  if type(self) ~= "table" or getmetatable(self) ~= class then
    error(format("bad argument #1 to '%s' (use it as a method: object:%s())", call, call), 3)
  end
  return self.handle
end

local Bus = {}
Bus.__index = Bus
local Seat = {}
Seat.__index = Seat
local Inspector = {}
Inspector.__index = Inspector
local Tail = {}
Tail.__index = Tail

-- Module

--- The library itself, for modules that want every nanosecond.
_M.C = C

--- The version of the library.
function _M.version()
  return text_of(C.seqcast_version)
end

local bus_out = ffi_new("seqcast_bus *[1]")

local function opener(call, open)
  return function(name, options)
    typed(name, "string", 1, call)
    local struct = options_of("seqcast_bus_options", options, 2, call)
    local result = open(name, #name, struct, bus_out)
    if result < 0 then
      return failure(result)
    end
    return object(Bus, bus_out[0], bus_free)
  end
end

--- Creates a segment and opens it. A name has 1 to 200 of the characters `A-Z a-z 0-9 . _ -`.
--
-- Options: `capacity`, `block_size`, `claims`, `seats`, `mode`, `owner = { uid =, gid = }`, `creation_timeout` in
-- seconds, `strict`, `unlink_on_free`, `dump`.
_M.create = opener("create", C.seqcast_bus_create)

--- Opens the segment of that name.
_M.open = opener("open", C.seqcast_bus_open)

--- Opens the segment, or creates it if there is none.
_M.open_or_create = opener("open_or_create", C.seqcast_bus_open_or_create)

--- Creates a segment without a name, for this process and those that it forks.
function _M.anonymous(options)
  local struct = options_of("seqcast_bus_options", options, 1, "anonymous")
  local result = C.seqcast_bus_anonymous(struct, bus_out)
  if result < 0 then
    return failure(result)
  end
  return object(Bus, bus_out[0], bus_free)
end

--- Removes a segment's name. Returns true.
function _M.unlink(name)
  typed(name, "string", 1, "unlink")
  local result = C.seqcast_unlink(name, #name)
  if result < 0 then
    return failure(result)
  end
  return true
end

--- Removes a segment's name if no process has it open: true if it was removed, false if it is in use.
function _M.unlink_unheld(name)
  typed(name, "string", 1, "unlink_unheld")
  return truth(C.seqcast_unlink_unheld(name, #name))
end

--- The names of all segments of this host that this user may read, as an array.
function _M.names()
  local all, result = text_of(C.seqcast_names)
  if not all then
    return failure(result)
  end
  local names = {}
  for name in all:gmatch("[^\n]+") do
    names[#names + 1] = name
  end
  return names
end

--- Opens a segment to look at it, whoever owns it.
function _M.inspect(name)
  typed(name, "string", 1, "inspect")
  local out = ffi_new("seqcast_inspector *[1]")
  local result = C.seqcast_inspector_open(name, #name, out)
  if result < 0 then
    return failure(result)
  end
  return object(Inspector, out[0], inspector_free)
end

-- Figures

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

-- Bus

--- Gives the handle back. Seats that were taken stay.
function Bus:free()
  handle_of(self, Bus, "free")
  return free_object(self, bus_free)
end

--- The segment's name, with its slash.
function Bus:name()
  return text(C.seqcast_bus_name, handle_of(self, Bus, "name"))
end

--- The identity of the bus: another one for each segment that is ever created.
function Bus:id()
  return text(C.seqcast_bus_id, handle_of(self, Bus, "id"))
end

--- What was asked for and the existing segment does not have, as a text; empty if there is nothing.
function Bus:differences()
  return text(C.seqcast_bus_differences, handle_of(self, Bus, "differences"))
end

--- True if this call created the segment.
function Bus:was_created()
  return truth(C.seqcast_bus_was_created(handle_of(self, Bus, "was_created")))
end

--- True if the name still leads to this segment.
function Bus:is_current()
  return truth(C.seqcast_bus_is_current(handle_of(self, Bus, "is_current")))
end

local function number_method(call, get)
  local out = ffi_new("uint64_t[1]")
  return function(self)
    local result = get(handle_of(self, Bus, call), out)
    if result < 0 then
      return failure(result)
    end
    return tonumber(out[0])
  end
end

--- The next id to be posted.
Bus.next_id = number_method("next_id", C.seqcast_bus_next_id)

--- The events that the ring holds.
Bus.capacity = number_method("capacity", C.seqcast_bus_capacity)

--- The bytes of the largest event.
Bus.largest_event = number_method("largest_event", C.seqcast_bus_largest_event)

--- Removes the segment's name. Who has it open goes on.
function Bus:unlink()
  local result = C.seqcast_bus_unlink(handle_of(self, Bus, "unlink"))
  if result < 0 then
    return failure(result)
  end
  return true
end

--- All figures by name, and `workers`: an array with those of each worker.
function Bus:stats()
  return figures(C.seqcast_bus_stats, handle_of(self, Bus, "stats"))
end

local seat_out = ffi_new("seqcast_seat *[1]")

local function joiner(call, join)
  return function(self, options)
    local handle = handle_of(self, Bus, call)
    local struct = options_of("seqcast_seat_options", options, 1, call)
    local result = join(handle, struct, seat_out)
    if result < 0 then
      return failure(result)
    end
    local seat = object(Seat, seat_out[0], seat_free)
    seat.out = ffi_new("const seqcast_delivery *[1]")
    seat.id = ffi_new("uint64_t[1]")
    return seat
  end
end

--- Takes a seat that reads and posts.
--
-- Options: `label`, `start` ("now", "oldest", `{ at = id }`, `{ after = id }`, `{ resume = position }`), `wait_interval`,
-- `wait_max` and `timeout` in seconds, `silent`.
Bus.subscribe = joiner("subscribe", C.seqcast_bus_subscribe)

--- Takes a seat that only posts and claims.
Bus.publisher = joiner("publisher", C.seqcast_bus_publisher)

-- Seat

--- Leaves the bus and gives the handle back.
function Seat:free()
  handle_of(self, Seat, "free")
  return free_object(self, seat_free)
end

--- Leaves the bus: posts `seqcast/stopping`, and the place is free for another. Unique events that were claimed already
-- are given by `next` afterwards.
function Seat:leave()
  local result = C.seqcast_seat_leave(handle_of(self, Seat, "leave"))
  if result < 0 then
    return failure(result)
  end
  return true
end

--- The number of the seat.
function Seat:number()
  local result = C.seqcast_seat_number(handle_of(self, Seat, "number"))
  if result < 0 then
    return failure(result)
  end
  return result
end

--- Posts an event to all seats. Returns its id.
--
-- Options: `key` makes it unique for `ttl` seconds; `type_tag`.
function Seat:post(source, event, payload, options)
  local handle = handle_of(self, Seat, "post")
  typed(source, "string", 1, "post")
  typed(event, "string", 2, "post")
  if payload == nil then
    payload = ""
  end
  typed(payload, "string", 3, "post")
  local struct = options_of("seqcast_post_options", options, 4, "post")
  local id = self.id
  local result = C.seqcast_seat_post(handle, source, #source, event, #event, payload, #payload, struct, id)
  if result < 0 then
    return failure(result)
  end
  return tonumber(id[0])
end

--- Takes the next event id now, for an event whose payload comes later. Readers that reach it wait, for their `wait_max`
-- at most. A seat holds one reservation: one before it is given up. Returns the id.
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

--- Makes an event visible at the reserved id. It must fit one block. Options as for `post`. Returns true; the code of the
-- error is `"too_late"` if the id was given up before.
function Seat:commit(id, source, event, payload, options)
  local handle = handle_of(self, Seat, "commit")
  check_id(id, "commit")
  typed(source, "string", 2, "commit")
  typed(event, "string", 3, "commit")
  if payload == nil then
    payload = ""
  end
  typed(payload, "string", 4, "commit")
  local struct = options_of("seqcast_post_options", options, 5, "commit")
  local result = C.seqcast_seat_commit(handle, id, source, #source, event, #event, payload, #payload, struct)
  if result < 0 then
    return failure(result)
  end
  return true
end

--- Gives a reserved id up: true, or false if it was not reserved any more.
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
}
local NOTHING = tonumber(C.SEQCAST_NOTHING)
local EVENT = tonumber(C.SEQCAST_EVENT)

local reasons = {
  [tonumber(C.SEQCAST_REASON_CLAIMS_FULL)] = "claims_full",
  [tonumber(C.SEQCAST_REASON_LATE)] = "late",
}

--- What a delivery is, as a table.
local function delivery_of(it)
  local id = tonumber(it.id)
  if it.kind ~= EVENT then
    return {
      kind = kinds[it.kind] or "other",
      id = id,
      missed = it.missed > 0 and tonumber(it.missed) or nil,
      own = it.own == 1 or nil,
      reason = reasons[it.reason],
    }
  end
  return {
    kind = "event",
    id = id,
    source = ffi_string(it.source, it.source_len),
    event = ffi_string(it.event, it.event_len),
    payload = ffi_string(it.payload, it.payload_len),
    pid = it.pid,
    seat = it.seat,
    own = it.own == 1,
    type_tag = it.type_tag ~= 0 and it.type_tag or nil,
    claim = it.unique == 1 and ffi_new("seqcast_claim", it.claim) or nil,
  }
end

--- Takes what comes next: a table with a `kind`, or nil if there is nothing new.
--
-- `"event"`: `id`, `source`, `event`, `payload`, `pid`, `seat`, `own`, `type_tag`, and `claim` if it is unique and this
-- seat's. `"lagged"`: `id` and `missed`. `"reserved"`: the payload of `id` is not there yet, nothing is to be done.
-- `"undecided"`: a unique event that nobody may run, for `reason`. `"unreadable"`: what is at `id` is no event.
--
-- With a timeout in seconds it waits, and blocks the whole process meanwhile: in nginx leave it out.
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

--- Sleeps until `next` may give something else than before, for at most `timeout` seconds, and blocks the whole process
-- meanwhile. Returns true if there is something new.
function Seat:wait(timeout)
  local handle = handle_of(self, Seat, "wait")
  typed(timeout, "number", 1, "wait")
  if not (timeout >= 0) then
    bad(1, "wait", "a number of seconds that is not negative expected")
  end
  return truth(C.seqcast_seat_wait(handle, nanoseconds(timeout, 0)))
end

--- Changes how many seconds the seat waits for a reserved id before it is given up for all.
function Seat:set_wait_max(seconds)
  local handle = handle_of(self, Seat, "set_wait_max")
  typed(seconds, "number", 1, "set_wait_max")
  if not (seconds >= 0) then
    bad(1, "set_wait_max", "a number of seconds that is not negative expected")
  end
  local result = C.seqcast_seat_set_wait_max(handle, nanoseconds(seconds, 0))
  if result < 0 then
    return failure(result)
  end
  return true
end

--- Delivers only events of these sources from now on: an array of strings.
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
  local result = C.seqcast_seat_only_sources(handle, array, #sources)
  if result < 0 then
    return failure(result)
  end
  return true
end

--- Delivers only these events from now on: an array of `{ source, event }`.
function Seat:only(topics)
  local handle = handle_of(self, Seat, "only")
  typed(topics, "table", 1, "only")
  local array = ffi_new("seqcast_topic[?]", #topics)
  for index, topic in ipairs(topics) do
    local source, event = type(topic) == "table" and topic[1], type(topic) == "table" and topic[2]
    if type(source) ~= "string" or type(event) ~= "string" then
      bad(1, "only", "an array of { source, event } expected")
    end
    local place = array[index - 1]
    place.source, place.source_len, place.event, place.event_len = source, #source, event, #event
  end
  local result = C.seqcast_seat_only(handle, array, #topics)
  if result < 0 then
    return failure(result)
  end
  return true
end

--- The next id to be delivered.
function Seat:cursor()
  local handle = handle_of(self, Seat, "cursor")
  local result = C.seqcast_seat_cursor(handle, self.id)
  if result < 0 then
    return failure(result)
  end
  return tonumber(self.id[0])
end

--- Where the seat is, as a text, to go on from there with `start = { resume = position }`.
function Seat:position()
  return text(C.seqcast_seat_position, handle_of(self, Seat, "position"))
end

local WON = tonumber(C.SEQCAST_CLAIM_WON)
local HELD = tonumber(C.SEQCAST_CLAIM_HELD)

--- Claims a key among all seats for `ttl` seconds. Returns the claim if it is won; nil, `"held"`, and the seconds until
-- the key is free if another seat holds it; nil and `"full"` if the claims have no room.
function Seat:claim(key, ttl)
  local handle = handle_of(self, Seat, "claim")
  typed(key, "string", 1, "claim")
  typed(ttl, "number", 2, "claim")
  if not (ttl > 0) then
    bad(2, "claim", "a number of seconds greater than zero expected")
  end
  local claim = ffi_new("seqcast_claim")
  local result = C.seqcast_seat_claim(handle, key, #key, nanoseconds(ttl, 1), claim, self.id, nil)
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

--- Ends a claim, or that of a unique event, before its ttl does: false if it had ended.
function Seat:release(claim)
  local handle = handle_of(self, Seat, "release")
  if not ffi.istype("seqcast_claim", claim) then
    bad(1, "release", "a claim expected")
  end
  return truth(C.seqcast_seat_release(handle, claim))
end

-- Inspector

--- Gives the handle back.
function Inspector:free()
  handle_of(self, Inspector, "free")
  return free_object(self, inspector_free)
end

--- All figures, as `bus:stats()`.
function Inspector:stats()
  return figures(C.seqcast_inspector_stats, handle_of(self, Inspector, "stats"))
end

--- True if the name still leads to this segment.
function Inspector:is_current()
  return truth(C.seqcast_inspector_is_current(handle_of(self, Inspector, "is_current")))
end

--- A reader of all events that takes no seat. Options: `start`, `patience` in seconds, `payloads`.
function Inspector:tail(options)
  local handle = handle_of(self, Inspector, "tail")
  local struct = options_of("seqcast_tail_options", options, 1, "tail")
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
}
local SEEN_EVENT = tonumber(C.SEQCAST_SEEN_EVENT)

--- Takes what comes next, as a table with a `kind`, or nil if there is nothing new.
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
    seen.pid, seen.seat, seen.unique = it.pid, it.seat, it.unique == 1
  end
  return seen
end

--- Gives the handle back.
function Tail:free()
  handle_of(self, Tail, "free")
  return free_object(self, tail_free)
end

return _M
