-- Two nginx workers on the original: worker 0 posts "ping" and polls until worker 1 has answered "pong". Then it posts as
-- fast as it can while worker 1 polls. Both poll explicitly (interval 0), in tight loops. Times are in nanoseconds.

local ffi = require "ffi"
local events = require "resty.worker.events"

ffi.cdef [[
    typedef struct { long seconds; long nanoseconds; } bench_timespec;
    int clock_gettime(int clock, bench_timespec *time);
]]
local timespec = ffi.new("bench_timespec")

local function now()
    ffi.C.clock_gettime(1, timespec)
    return tonumber(timespec.seconds) * 1e9 + tonumber(timespec.nanoseconds)
end

local near = ngx.worker.id() == 0
local control = ngx.shared.control
local own, others = near and "ping" or "pong", near and "pong" or "ping"
local filler = ("x"):rep(math.max(bench_size - 12, 0))
local last, count = 0, 0

-- The number in twelve digits, padded to the payload's size.
local function post(number)
    local ok, err = events.post(own, "e", ("%012d"):format(number) .. filler)
    if not ok then error(err) end
end

local function on_event(data)
    last = tonumber(data:sub(1, 12))
    count = count + 1
end

local STOP = 999999999999

local function meet(name)
    control:incr(name, 1, 0)
    while control:get(name) < 2 do ngx.sleep(0.001) end
end

local function run_near()
    local trips, before = {}, now()
    local deadline = before + bench_seconds * 1e9
    for round = 1, 20000 do
        post(round)
        repeat events.poll() until last == round
        local after = now()
        if round > 20 then trips[#trips + 1] = after - before end
        before = after
        if after > deadline then break end
    end
    post(STOP)
    meet("flow")
    local start, posted = now(), 0
    deadline = start + bench_seconds * 1e9 / 2
    local finish = start
    while finish < deadline do
        for _ = 1, 16 do
            posted = posted + 1
            post(posted)
        end
        finish = now()
    end
    post(STOP)
    meet("end")
    local file = assert(io.open(bench_directory .. "/result", "w"))
    file:write("round-trips: ", table.concat(trips, " "), "\n")
    file:write(("flow: %d %d %d %d\n"):format(posted, finish - start, control:get("received"), control:get("time")))
    file:close()
    assert(io.open(bench_directory .. "/done", "w")):close()
end

local function run_far()
    local answered = 0
    while last ~= STOP do
        events.poll()
        if last ~= answered and last ~= STOP then
            answered = last
            post(last)
        end
    end
    meet("flow")
    last, count = 0, 0
    local start = now()
    repeat events.poll() until last == STOP
    control:set("received", count - 1)
    control:set("time", now() - start)
    meet("end")
end

local configured, err = events.configure { shm = "events", interval = 0, wait_interval = 0.001 }
if not configured then error(err) end
events.register(on_event, others, "e")
ngx.timer.at(0, function()
    meet("start")
    if near then run_near() else run_far() end
end)
