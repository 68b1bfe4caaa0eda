-- What the tests use inside nginx: a handler that keeps what it sees, and a way to run code in a chosen worker.

local cjson = require("cjson.safe").new()
cjson.encode_sparse_array(true)

local tap = { kept = {} }

local function keep(label, ...)
  local data, event, source, pid = ...
  if data == nil then data = cjson.null end
  if pid == nil then pid = cjson.null end
  tap.kept[#tap.kept + 1] = { source, event, data, pid, select("#", ...), label }
end

function tap.record(...)
  keep(nil, ...)
end

-- A handler that keeps what it sees under a label.
function tap.recorder(label)
  return function(...) keep(label, ...) end
end

function tap.take()
  local kept = tap.kept
  tap.kept = {}
  return kept
end

-- Counts how often the module under test sleeps, and notes for how long. To be called before the module is loaded.
function tap.count_sleeps()
  local sleep = ngx.sleep
  tap.sleeps, tap.slept = 0, {}
  tap.sleep = sleep
  ngx.sleep = function(seconds)
    tap.sleeps = tap.sleeps + 1
    tap.slept[tostring(seconds)] = true
    return sleep(seconds)
  end
end

local function answer(ok, ...)
  local n = select("#", ...)
  if not ok then
    return { pid = ngx.worker.pid(), error = tostring((...)) }
  end
  local values = { ... }
  for i = 1, n do
    if values[i] == nil then values[i] = cjson.null end
  end
  return { pid = ngx.worker.pid(), n = n, values = values }
end

function tap.run()
  ngx.req.read_body()
  local request = assert(cjson.decode(ngx.req.get_body_data()))
  local code = assert(loadstring(request.code, "=test"))
  local env = { args = request.args, tap = tap, ev = require("resty.worker.events"), cjson = cjson }
  setfenv(code, setmetatable(env, { __index = _G }))
  local result = answer(pcall(code))
  local text, err = cjson.encode(result)
  ngx.print(text or cjson.encode({ pid = ngx.worker.pid(), error = "cannot encode the result: " .. err }))
end

-- Stops the whole worker until the other end of the FIFO is closed.
function tap.park()
  ngx.req.read_body()
  local fifo = assert(io.open(ngx.req.get_body_data()))
  fifo:read("*a")
  fifo:close()
  ngx.print(ngx.worker.pid())
end

return tap
