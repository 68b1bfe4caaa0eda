--- The registry of handlers, which runs the handlers of an event.
--
-- A level is all events, a source, or one event of a source. Each level has a list of weakly held handlers and a list
-- of strongly held ones. A removed handler leaves a hole in its list, so that a list can change while its handlers run.
-- `tidy` closes the holes when no handler runs.

local error = error
local ipairs = ipairs
local next = next
local select = select
local setmetatable = setmetatable
local xpcall = xpcall

local Registry = {}
Registry.__index = Registry

local function new_level()
  return {
    weak = setmetatable({ n = 0 }, { __mode = "v" }),
    strong = { n = 0 },
    below = {},
  }
end

--- Makes a registry. If a handler raises an error, `explain(err)` makes a text of it for `report(err, event, source,
-- pid)`.
local function new(explain, report)
  local registry = { all = new_level(), dirty = {}, has_holes = false, explain = explain, report = report }
  return setmetatable(registry, Registry)
end

local function below(level, name)
  local found = level.below[name]
  if not found then
    if name ~= name then
      -- LuaJIT would raise this too, but may crash when it does so in compiled code.
      error("a name must not be nan", 0)
    end
    found = new_level()
    level.below[name] = found
  end
  return found
end

--- Calls `run` with each level that the arguments name. Missing levels are made if `make` is true, and skipped
-- otherwise.
local function each_level(self, make, run, source, ...)
  if not source then
    return run(self.all)
  end
  local level = make and below(self.all, source) or self.all.below[source]
  if not level then
    return
  end
  local n = select("#", ...)
  local named = false
  for i = 1, n do
    local event = select(i, ...)
    if event ~= nil then
      named = true
      local found = make and below(level, event) or level.below[event]
      if found then
        run(found)
      end
    end
  end
  if not named then
    run(level)
  end
end

--- Adds a callback, held by `kind` "weak" or "strong", for all events, for a source, or for events of a source.
function Registry:add(kind, callback, source, ...)
  each_level(self, true, function(level)
    local list = level[kind]
    local n = list.n + 1
    list[n], list.n = callback, n
  end, source, ...)
end

function Registry:note_hole(list)
  self.dirty[list] = true
  self.has_holes = true
end

--- Removes a callback, held weakly or strongly. Returns true if it was registered.
function Registry:remove(callback, source, ...)
  local removed = false
  each_level(self, false, function(level)
    for _, list in ipairs { level.weak, level.strong } do
      for i = 1, list.n do
        if list[i] == callback then
          list[i] = false
          self:note_hole(list)
          removed = true
        end
      end
    end
  end, source, ...)
  return removed
end

--- Closes holes. Do not call it while handlers run.
function Registry:tidy()
  self.has_holes = false
  for list in next, self.dirty do
    local n = 0
    for i = 1, list.n do
      local callback = list[i]
      if callback then
        n = n + 1
        list[n] = callback
      end
    end
    for i = n + 1, list.n do
      list[i] = nil
    end
    list.n = n
  end
  self.dirty = {}
end

local function run_one(self, list, i, data, event, source, pid, key)
  local callback = list[i]
  if callback then
    local ok, err
    if key == nil then
      ok, err = xpcall(callback, self.explain, data, event, source, pid)
    else
      ok, err = xpcall(callback, self.explain, data, event, source, pid, key)
    end
    if not ok then
      self.report(err, event, source, pid)
    end
  else
    self:note_hole(list)
  end
end

local function run_from(self, list, i, data, event, source, pid, key)
  -- The list may grow meanwhile.
  while i <= list.n do
    run_one(self, list, i, data, event, source, pid, key)
    i = i + 1
  end
end

--- The usual one or two handlers run without a loop: LuaJIT compiles neither a loop that ends at once nor the code
-- around it.
local function run_list(self, list, data, event, source, pid, key)
  if list.n > 0 then
    run_one(self, list, 1, data, event, source, pid, key)
    if list.n > 1 then
      run_one(self, list, 2, data, event, source, pid, key)
      if list.n > 2 then
        run_from(self, list, 3, data, event, source, pid, key)
      end
    end
  end
end

local function run_level(self, level, data, event, source, pid, key)
  run_list(self, level.weak, data, event, source, pid, key)
  run_list(self, level.strong, data, event, source, pid, key)
end

--- Runs all handlers of an event. They get `key` only if it is not nil.
function Registry:run(data, event, source, pid, key)
  local all = self.all
  run_level(self, all, data, event, source, pid, key)
  local level = all.below[source]
  if level then
    run_level(self, level, data, event, source, pid, key)
    level = level.below[event]
    if level then
      run_level(self, level, data, event, source, pid, key)
    end
  end
end

local function has_any(level)
  return level ~= nil and (level.weak.n > 0 or level.strong.n > 0)
end

--- Returns true if an event may have a handler. Otherwise its payload need not be decoded.
function Registry:wants(event, source)
  local all = self.all
  if has_any(all) then
    return true
  end
  local level = all.below[source]
  return level ~= nil and (has_any(level) or has_any(level.below[event]))
end

return { new = new }
