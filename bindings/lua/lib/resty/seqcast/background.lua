--- The background poll of an nginx worker: every interval, and after each post.

local library = require "resty.seqcast.library"
local semaphore = require "ngx.semaphore"
local wake = require "resty.seqcast.wake"

local exiting = ngx.worker.exiting
local log = ngx.log
local now = ngx.now
local setmetatable = setmetatable
local sleep = ngx.sleep
local timer_at = ngx.timer.at
local tostring = tostring

local ERR, NOTICE = ngx.ERR, ngx.NOTICE

local C = library.C

-- In seconds. A semaphore cannot wait for longer than some days.
local LONGEST_WAIT = 3600
-- The loop polls again at most this often without a turn for other light threads.
local MOST_AT_ONCE = 8
-- In seconds. A poll that another light thread has begun does not arm the bell when it ends.
local OTHER_POLL = 0.05
local WATCH_INTERVAL = 60

local Background = {}
Background.__index = Background

--- Returns the background poll of `worker`, which has the functions `poll()`, `stop()`, `look()`, which is called once
-- a second, `options()`, and `handle()`, which returns the seat's handle or nil.
local function new(worker)
  return setmetatable({
    worker = worker,
    ticks = semaphore.new(),
    -- The running loop's token. Weak: if a handler aborts the timer that it runs in, the token is collected with its
    -- stack.
    running = setmetatable({}, { __mode = "v" }),
    is_watching = false,
    has_stopped = false,
    -- The seat's waker, if posts wake this worker. `waiter` is "waits" while a light thread waits for it, or "given
    -- up".
    waker = nil,
    waiter = "none",
  }, Background)
end

-- Waiting for posts

--- Ends the wait for posts. Call it before the seat is freed.
function Background:stop_waiting()
  local waker = self.waker
  if waker then
    self.waker = nil
    waker:ring()
  end
end

local function wait_for_posts(premature, self)
  local handle = self.worker.handle()
  if premature or not handle then
    self.waiter = "none"
    return
  end
  local waker, err = wake.start(handle)
  if not waker then
    self.waiter = "given up"
    log(NOTICE, "worker-events: posts do not wake this worker, which looks every interval: ", err)
    return
  end
  self.waker = waker
  local ticks = self.ticks
  ticks:post(1)
  while waker:wait() and self.waker == waker and not exiting() do
    if ticks:count() < 1 then
      ticks:post(1)
    end
  end
  if self.waker == waker then
    self.waker = nil
  end
  waker:close()
  self.waiter = "none"
end

--- Prepares the loop's sleep. Returns true if there are events to read.
local function has_news(self)
  if not self.waker then
    if self.waiter == "none" and self.worker.options().wake and timer_at(0, wait_for_posts, self) then
      self.waiter = "waits"
    end
    return false
  end
  local result = C.seqcast_seat_arm(self.worker.handle())
  if result < 0 then
    local _, err = library.failure(result)
    log(ERR, "worker-events: ", err)
    self:stop_waiting()
  end
  return result == 1
end

-- The loop

--- Returns the seconds to sleep after a poll that returned `answer`.
local function pause(self, answer, at_once)
  local interval = self.worker.options().interval
  if at_once == MOST_AT_ONCE then
    return 0.001
  elseif answer == "recursive" and self.waker and interval > OTHER_POLL then
    return OTHER_POLL
  end
  return interval < LONGEST_WAIT and interval or LONGEST_WAIT
end

local function stop_once(self)
  if not self.has_stopped then
    self.has_stopped = true
    self.worker.stop()
  end
end

local function loop(premature, self, token)
  local worker = self.worker
  if premature then
    if not self.is_watching then
      stop_once(self)
    end
    return
  end
  local looked, at_once = now(), 0
  while self.running[1] == token do
    local answer, err = worker.poll()
    if not answer then
      log(ERR, "worker-events: timer-poll returned: ", err)
    end
    if now() - looked > 1 then
      looked = now()
      worker.look()
    end
    local interval = worker.options().interval
    if interval == 0 or exiting() then
      self:stop_waiting()
      self.running[1] = nil
      if interval > 0 and not self.is_watching then
        stop_once(self)
      end
    elseif answer == "done" and at_once < MOST_AT_ONCE and has_news(self) then
      at_once = at_once + 1
    else
      self.ticks:wait(pause(self, answer, at_once))
      at_once = 0
    end
  end
end

local function start_loop(self)
  local token = {}
  local ok, err = timer_at(0, loop, self, token)
  if not ok then
    return nil, "failed to create timer: " .. tostring(err), err
  end
  self.running[1] = token
  return true
end

--- Starts the loop if it should run and does not. A worker that exits has ended its loop.
function Background:revive()
  if not self.running[1] and self.worker.options().interval > 0 and not exiting() then
    start_loop(self)
  end
end

--- Stops the worker when it exits. Until then, starts the loop again if it has ended.
local function watch(premature, self)
  if premature then
    stop_once(self)
    self:stop_waiting()
    self.ticks:post(1)
    -- nginx runs the woken light thread at its next timer or event, which may be long from now.
    sleep(0.001)
    return
  end
  self:revive()
  self.is_watching = timer_at(WATCH_INTERVAL, watch, self) or false
end

--- Starts or wakes the loop as the options require. The first call runs at least one poll. Returns true, or nil, an
-- error, and nginx's own text for it.
function Background:start(is_first)
  local interval = self.worker.options().interval
  if self.running[1] then
    self.ticks:post(1)
  elseif interval > 0 or is_first then
    local ok, err, reason = start_loop(self)
    if not ok then
      return nil, err, reason
    end
  end
  if interval > 0 and not self.is_watching then
    self.is_watching = timer_at(WATCH_INTERVAL, watch, self) or false
  end
  return true
end

return { new = new }
