--- Events between the workers of an nginx. Replaces lua-resty-worker-events 2.0.1, with the same name, options and
-- calls.
--
-- Events travel through a segment of seqcast. The payload is the JSON of `data`, so other processes can read events and
-- post them: see the option `segment` and the command `seqcast`.

local ffi = require "ffi"
local background_of = require("resty.seqcast.background").new
local handlers = require "resty.seqcast.handlers"
local json = require "resty.seqcast.json"
local notice = require "resty.seqcast.notices"
local posting = require "resty.seqcast.posting"
local seqcast = require "resty.seqcast"
local settings = require "resty.seqcast.settings"
local zone = require "resty.seqcast.zone"
local errlog = require "ngx.errlog"

local error = error
local ffi_string = ffi.string
local format = string.format
local get_filter_level = errlog.get_sys_filter_level
local get_phase = ngx.get_phase
local ipairs = ipairs
local log = ngx.log
local pairs = pairs
local pcall = pcall
local setmetatable = setmetatable
local sleep = ngx.sleep
local tonumber = tonumber
local tostring = tostring
local traceback = debug.traceback
local type = type

local DEBUG, ERR, NOTICE = ngx.DEBUG, ngx.ERR, ngx.NOTICE

local C = seqcast.C
local checked = settings.checked
local decode = json.decode
local fixed = settings.fixed
local FULL, clear, post_event = posting.FULL, posting.clear, posting.post

local _M = {
  -- The version of the module that this one replaces.
  _VERSION = "2.0.1",
  _SEQCAST_VERSION = seqcast._VERSION,
}

-- State

local options         -- the options in effect
local pending         -- options from `init_by_lua`, until this worker joins
local joined          -- the bus, the seat, the segment's name, and whether to remove it
local bus_handle
local seat_handle
local at_exit         -- lives as long as the Lua VM

local out = ffi.new("const seqcast_delivery *[1]")
local next_id = ffi.new("uint64_t[1]")

-- The local events, and the table that collects new ones while these are handled.
local queue, spare, queued = {}, {}, 0
-- The local events that handlers post run after the events that are in the ring already and before later ones: the id
-- of the first later event, or nil.
local bound

-- The running poll's token. Weak: if a handler aborts the poll, for example by `ngx.exit`, the token is collected with
-- its stack.
local polling = setmetatable({}, { __mode = "v" })

local background

local NOTHING = tonumber(C.SEQCAST_NOTHING)
local EVENT = tonumber(C.SEQCAST_EVENT)
local RESERVED = tonumber(C.SEQCAST_RESERVED)
local DISPLACED = tonumber(C.SEQCAST_E_DISPLACED)

-- The payloads of this source are plain text, not JSON.
local LIBRARY_SOURCE = "seqcast"

local function last_error()
  return ffi_string(C.seqcast_error_message())
end

-- Handlers

--- Returns the error that a handler raised as a text, with the stack.
local function explain(err)
  if type(err) ~= "string" then
    local ok, text = pcall(tostring, err)
    err = ok and text or "a " .. type(err) .. " that has no text"
  end
  return traceback(err, 2)
end

local function report_failure(err, event, source, pid)
  -- The data may be secret and is not logged.
  log(ERR, "worker-events: event callback failed; source=", source, ", event=", event, ", pid=", pid, " error='", err,
      "'")
end

local registry = handlers.new(explain, report_failure)

local function expect_function(callback)
  if type(callback) ~= "function" then
    error("expected function, got: " .. type(callback), 3)
  end
end

-- Looked up once per join: formatting a line that is not written costs as much as an event.
local logs_debug = true

local function log_event(source, event, pid)
  log(DEBUG, "worker-events: handling event; source=", source, ", event=", event, ", pid=", pid)
end

-- Reading

local function run_local(it)
  if logs_debug then
    log_event(it.source, it.event, nil)
  end
  registry:run(it.data, it.event, it.source, nil)
end

--- Runs the local events, and then those that their handlers post.
local function run_queued()
  local events, n = queue, queued
  queue, spare, queued = spare, events, 0
  local it = events[1]
  events[1] = nil
  run_local(it)
  for i = 2, n do
    it = events[i]
    events[i] = nil
    run_local(it)
  end
  if queued > 0 then
    return run_queued()
  end
  bound = nil
end

local function deliver_event(it)
  local source, event = ffi_string(it.source, it.source_len), ffi_string(it.event, it.event_len)
  local pid = it.pid
  if logs_debug then
    log_event(source, event, pid)
  end
  if not registry:wants(event, source) then
    return
  end
  local len, data = it.payload_len, nil
  if len > 0 then
    data = ffi_string(it.payload, len)
    if source ~= LIBRARY_SOURCE then
      local err
      data, err = decode(data)
      if data == nil then
        log(ERR, "worker-events: failed decoding json event data: ", err, "; source=", source, ", event=", event,
            ", pid=", pid)
        return
      end
    end
  end
  registry:run(data, event, source, pid, it.retained == 1 and ffi_string(it.retained_key, it.retained_key_len) or nil)
end

local function deliver(it)
  if it.kind == EVENT then
    return deliver_event(it)
  end
  return notice(it, registry, _M.events)
end

--- Returns the number of ids that this worker has given up because their data did not come. It reads all seats and
-- claims, which is too slow for every poll.
local function given_up()
  if not joined then
    return 0
  end
  local seat, stats = joined.seat:number(), joined.bus:stats()
  for _, worker in ipairs(stats and stats.workers or {}) do
    if worker.seat == seat then
      return worker.voided
    end
  end
  return 0
end

--- Takes the next delivery, up to `bound`.
local function look()
  if bound then
    return C.seqcast_seat_next_before(seat_handle, bound, out)
  end
  return C.seqcast_seat_next(seat_handle, 0, out)
end

--- Waits at an id that another process has reserved, because later events come after it. Returns the result of the next
-- look.
local function wait_for_data(id)
  local before = given_up()
  local result
  repeat
    local interval = options.wait_interval
    -- In phases that cannot yield, such as `init_worker`, the process sleeps.
    if not pcall(sleep, interval) then
      C.seqcast_seat_wait(seat_handle, interval * 1e9)
    end
    result = look()
  until result ~= 0 or out[0].kind ~= RESERVED or out[0].id ~= id
  if given_up() > before then
    log(ERR, "worker-events: dropping event; waiting for event data timed out, id: ", format("%d", tonumber(id)))
  end
  return result
end

local join

--- Returns the results of a poll in which the library failed.
local function poll_failed(result)
  local err = "failed to read events: " .. last_error()
  log(ERR, "worker-events: ", err)
  if result == DISPLACED then
    -- The seat was lost: its lock is gone, and another process has taken it.
    join(options)
  end
  return nil, err
end

local drain

--- Continues after a look that found no event.
local function drain_rest(result)
  if result < 0 then
    return poll_failed(result)
  elseif out[0].kind == RESERVED then
    return drain(wait_for_data(out[0].id))
  elseif queued > 0 then
    run_queued()
    return drain(look())
  elseif bound then
    bound = nil
    return drain(look())
  end
  return "done"
end

--- Delivers all events, beginning with the `result` of a look. It uses a tail call instead of a loop: LuaJIT compiles
-- neither a loop that ends after one or two events nor the code around it.
function drain(result)
  if result > 0 then
    deliver(out[0])
    return drain(look())
  end
  return drain_rest(result)
end

local function drain_alone(result)
  local token = {}
  polling[1] = token
  if not result then
    run_queued()
    result = look()
  end
  local answer, err = drain(result)
  polling[1] = nil
  -- This use keeps the token from being collected earlier.
  token.ended = true
  if registry.has_holes then
    registry:tidy()
  end
  background:revive()
  if not answer then
    return nil, err
  end
  return answer
end

local ensure_joined

--- Delivers all new events, and those that their handlers post. Returns "done", or "recursive" if a poll is running
-- already, or nil and an error.
function _M.poll()
  if polling[1] then
    return "recursive"
  end
  if not seat_handle then
    local ok, err = ensure_joined()
    if not ok then
      if queued > 0 then
        run_queued()
      end
      return nil, err
    end
  end
  if queued > 0 then
    return drain_alone()
  end
  local result = C.seqcast_seat_next(seat_handle, 0, out)
  if result == 0 and out[0].kind == NOTHING then
    return "done"
  end
  return drain_alone(result)
end

-- Posting

local function post(source, event, data, unique, more)
  local id, err, code = post_event(seat_handle, options.timeout_ns, source, event, data, unique, more)
  if not id then
    return nil, err, code
  end
  if polling[1] and not bound then
    bound = id
  end
  return true
end

--- Returns a name as messages show it.
local function shown(name)
  return #name > 255 and name:sub(1, 64) .. ".." or name
end

--- Logs that a post has failed. Returns the error.
local function post_failed(source, event, err)
  err = 'failed posting event "' .. shown(event) .. '" by "' .. shown(source) .. '"; ' .. tostring(err)
  log(ERR, "worker-events: ", traceback(err))
  return err
end

--- Posts an event to all workers, including this one. Returns true, or nil and an error.
--
-- Options: `retain`, which is true or a key: the event is kept as the last one of its source, event and key; `ttl`, in
-- seconds, of a retained or a unique event; `cluster`, which delivers the event on all hosts. If a seat that must read
-- has no room for the event, the post is refused.
function _M.post(source, event, data, unique, more)
  if type(source) ~= "string" or source == "" then
    return nil, "source is required"
  end
  if type(event) ~= "string" or event == "" then
    return nil, "event is required"
  end
  local ok, err
  if seat_handle then
    ok = true
  else
    ok, err = ensure_joined()
  end
  if ok then
    ok, err = post(source, event, data, unique, more)
  end
  if not ok then
    return nil, post_failed(source, event, err)
  end
  return true
end

--- Joins if necessary, and checks the names of a retained event. Returns true, or nil and an error.
local function ready_for(source, event, key)
  if type(source) ~= "string" or type(event) ~= "string" or key ~= nil and type(key) ~= "string" then
    return nil, "source, event and key must be strings"
  end
  return ensure_joined()
end

--- Returns the retained event of a source, event and key, or nil if there is none: a table with `data`, `id`, `pid`,
-- and `left`, in seconds, if it has a ttl. Without a key, returns the one that is retained without a key. After a
-- failure returns nil and an error.
function _M.get(source, event, key)
  local ok, err = ready_for(source, event, key)
  if not ok then
    return nil, err
  end
  local found
  found, err = joined.seat:get(source, event, key)
  if err then
    return nil, err
  elseif not found then
    return nil
  end
  local data
  if found.payload ~= "" then
    data, err = decode(found.payload)
    if data == nil then
      return nil, "failed decoding json event data: " .. tostring(err)
    end
  end
  return { data = data, id = found.id, pid = found.pid, left = found.left }
end

--- Clears the retained event of a source, event and key. Handlers get the event `cleared`. Returns true, false if none
-- is retained there, or nil and an error.
function _M.clear(source, event, key)
  local ok, err = ready_for(source, event, key)
  if not ok then
    return nil, err
  end
  local id
  id, err = clear(seat_handle, source, event, key or "")
  if not id then
    return id, err
  end
  if polling[1] and not bound then
    bound = id
  end
  return true
end

--- Posts an event to this worker only, with `data` unchanged. Returns true, or nil and an error.
function _M.post_local(source, event, data)
  if type(source) ~= "string" or source == "" then
    return nil, "source is required"
  end
  if type(event) ~= "string" or event == "" then
    return nil, "event is required"
  end
  if pending then
    ensure_joined()
  end
  if polling[1] and not bound and seat_handle then
    C.seqcast_bus_next_id(bus_handle, next_id)
    bound = tonumber(next_id[0])
  end
  queued = queued + 1
  queue[queued] = { source = source, event = event, data = data }
  return true
end

-- Registering

--- Registers `callback(data, event, source, pid)` for all events, for a source, or for events of a source. Returns
-- true.
function _M.register(callback, source, ...)
  expect_function(callback)
  registry:add("strong", callback, source, ...)
  return true
end

--- Like `register`, but holds the callback weakly: it is removed when its owner drops it.
function _M.register_weak(callback, source, ...)
  expect_function(callback)
  registry:add("weak", callback, source, ...)
  return true
end

--- Unregisters a callback that was registered with the same arguments. Returns true if it was registered.
function _M.unregister(callback, source, ...)
  expect_function(callback)
  local removed = registry:remove(callback, source, ...)
  if not polling[1] then
    registry:tidy()
  end
  return removed
end

--- Returns a table of event names, `list._source` and `list.name`. An unknown name raises an error.
function _M.event_list(source, ...)
  local list = { _source = source }
  for _, event in pairs { ... } do
    if event ~= event then
      error("a name must not be nan", 2)
    end
    list[event] = event
  end
  return setmetatable(list, {
    __index = function(_, key)
      error("event '" .. tostring(key) .. "' is an unknown event", 2)
    end,
  })
end

--- The library's own events: `started` and `stopping` of each worker, and those that only the worker itself gets.
--
-- `missed`, with `{ first =, missed =, cut_off = }`: events were overwritten before it polled. With `{ first =, missed
-- =, reason =, origin = }`: events were lost between hosts; `missed` is nil if their number is not known. `cleared`,
-- with `{ source =, event =, key = }`: no event is retained there any more. `reset`: everything that it knows of
-- retained events is void, and all of them follow. `up_to_date`: it has received every retained event that it lacked.
_M.events = _M.event_list("resty-worker-events", "started", "stopping", "missed", "cleared", "reset", "up_to_date")

-- Configuring

local function stop()
  _M.post(_M.events._source, _M.events.stopping)
  _M.poll()
end

local function leave()
  if joined then
    local it = joined
    joined, bus_handle, seat_handle, bound = nil, nil, nil, nil
    background:stop_waiting()
    zone.leave(it.bus, it.seat, it.unlink)
  end
end

--- Takes a seat on the bus. Returns true, or nil and an error.
function join(wanted)
  leave()
  local dict = wanted.shm and ngx.shared[wanted.shm]
  local name = wanted.segment or zone.name(wanted.shm)
  local seat_options = {
    label = format("nginx worker %d", ngx.worker.id() or -1),
    silent = true,
    wait_max = wanted.wait_max,
    must_read = wanted.must_read,
    start = wanted.start,
    resync = wanted.resync,
  }
  -- It raises an error for a bad option of the segment.
  local ok, bus, seat = pcall(zone.join, name, dict and dict:capacity() or 0, wanted.of_segment, seat_options, log)
  if not ok or not bus then
    return nil, seat or bus
  end
  joined = { name = name, bus = bus, seat = seat, unlink = wanted.unlink }
  bus_handle, seat_handle = bus.handle, seat.handle
  logs_debug = get_filter_level() >= DEBUG
  at_exit = at_exit or zone.at_exit(leave)
  return true
end

--- Joins the segment that the name leads to now, if the name was removed, as `rm` and some session managers do. Later
-- workers join that segment.
local function follow_name()
  if joined and joined.bus:is_current() == false then
    log(ERR, "worker-events: the name ", joined.name, " was removed while workers used it; joining the segment that ",
        "has it now; events that were posted meanwhile are lost")
    _M.poll()
    join(options)
  end
end

background = background_of {
  poll = _M.poll,
  stop = stop,
  look = follow_name,
  options = function() return options end,
  handle = function() return seat_handle end,
}

local function start(wanted)
  local ok, err = join(wanted)
  if not ok then
    return nil, err
  end
  options = wanted
  local code
  ok, err, code = post(_M.events._source, _M.events.started)
  if code == FULL then
    log(NOTICE, "worker-events: the event started is left out: ", err)
  elseif not ok then
    return nil, post_failed(_M.events._source, _M.events.started, err)
  end
  local reason
  ok, err, reason = background:start(true)
  if not ok then
    if reason == "process exiting" then
      _M.post(_M.events._source, _M.events.stopping)
    end
    log(ERR, "worker-events: ", err)
    return nil, err
  end
  return true
end

--- Joins with the options that were configured in `init_by_lua`, where there are no workers yet.
function ensure_joined()
  if seat_handle then
    return true
  end
  if options then
    return join(options)
  end
  if not pending or get_phase() == "init" then
    return nil, "not configured: call configure in init_worker_by_lua"
  end
  local wanted = pending
  pending = nil
  local ok, err = start(wanted)
  if not ok and not options then
    pending = wanted
  end
  return ok, err
end

local function change(wanted)
  local name = fixed(wanted, options)
  if name then
    return nil, "Already started, cannot change " .. name
  end
  if wanted.wait_max ~= options.wait_max then
    joined.seat:set_wait_max(wanted.wait_max)
  end
  options = wanted
  local ok, err = background:start(false)
  if not ok then
    return nil, err
  end
  _M.poll()
  return true
end

--- Joins the bus with these options, or changes them. Returns true, or nil and an error.
--
-- `shm`, `interval`, `timeout`, `wait_interval` and `wait_max` are as in lua-resty-worker-events. `shm_retries` is
-- checked but has no effect. `segment` is the name of a segment to share with other programs. `unlink = false` keeps
-- its name when the last worker leaves. `wake = false` lets workers sleep for their whole interval. `capacity`,
-- `block_size`, `claims`, `seats`, `mode`, `owner`, `retained`, `retained_size`, `large_blocks`, `large_size`,
-- `most_patience` and `relay_hosts` are those of `resty.seqcast`. With `must_read`, posts wait for this worker, each
-- for at most so many seconds. With `start = "retained"` it first gets all retained events, and with `resync = true`
-- those that it has missed.
function _M.configure(given)
  if type(given) ~= "table" then
    error("Expected a table, got " .. type(given), 2)
  end
  local shm = given.shm
  if options and (shm or given.segment) then
    return nil, "Already started, cannot change shm"
  end
  local before = options or pending or {}
  if not (shm or given.segment or before.shm or before.segment) then
    return nil, '"shm" option required to start'
  end
  if shm and not ngx.shared[shm] then
    return nil, 'shm "' .. tostring(shm) .. '" not found'
  end
  local wanted, err = checked(given, before)
  if not wanted then
    return nil, err
  end
  local ok = true
  if options then
    ok, err = change(wanted)
  elseif get_phase() == "init" then
    pending = wanted
  else
    pending = nil
    ok, err = start(wanted)
  end
  if not ok then
    return nil, err
  end
  if given.debug then
    _M._callbacks = registry.all
  end
  return true
end

--- Returns true if configured.
function _M.configured()
  return options ~= nil or pending ~= nil
end

return _M
