-- The measurements inside nginx. Costs are processor time, on which other load has less effect. Latency is wall-clock
-- time.

local ffi = require "ffi"
local ev = require "resty.worker.events"

ffi.cdef [[
typedef struct { long sec; long nsec; } bench_time;
int clock_gettime(int clock, bench_time *time);
]]

local MONOTONIC, THREAD_CPU = 1, 3
local time = ffi.new("bench_time")

local function clock(which)
  ffi.C.clock_gettime(which, time)
  return tonumber(time.sec) + tonumber(time.nsec) * 1e-9
end

local bench = { received = 0, latencies = {} }

-- The data of a health checker's event.
local DATA = { ip = "10.11.12.13", port = 8080, hostname = "upstream-7.example" }

function bench.now()
  return clock(MONOTONIC)
end

-- Runs `step` for `seconds`. Returns the nanoseconds of processor time per step, and the number of steps.
local function cost(seconds, step, batch)
  local count, start, cpu = 0, clock(MONOTONIC), clock(THREAD_CPU)
  repeat
    for _ = 1, batch do step() end
    count = count + batch
  until clock(MONOTONIC) - start > seconds
  return (clock(THREAD_CPU) - cpu) / count * 1e9, count
end

function bench.idle(seconds)
  ev.poll()
  return (cost(seconds, ev.poll, 1000))
end

function bench.post(seconds)
  return (cost(seconds, function() ev.post("upstream", "healthy", DATA) end, 100))
end

function bench.local_event(seconds)
  return (cost(seconds, function() ev.post_local("upstream", "healthy", DATA) ev.poll() end, 100))
end

-- Posts `count` events. When it returns, other workers can read them.
function bench.fill(count)
  for _ = 1, count do
    assert(ev.post("upstream", "healthy", DATA))
  end
end

-- Returns the nanoseconds of processor time to read, decode and handle one event.
function bench.drain()
  local before, cpu = bench.received, clock(THREAD_CPU)
  ev.poll()
  return (clock(THREAD_CPU) - cpu) / (bench.received - before) * 1e9
end

function bench.stamp()
  ev.post("bench", "stamp", string.format("%.9f", clock(MONOTONIC)))
end

ev.register(function() bench.received = bench.received + 1 end, "upstream", "healthy")
ev.register(function(data)
  bench.latencies[#bench.latencies + 1] = (clock(MONOTONIC) - tonumber(data)) * 1e6
end, "bench", "stamp")

function bench.take_latencies()
  local latencies = bench.latencies
  bench.latencies = {}
  return latencies
end

return bench
