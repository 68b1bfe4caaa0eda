rockspec_format = "3.0"
package = "lua-resty-seqcast"
version = "0.1.0-1"

-- Build it from a checkout with `luarocks make`.
source = {
  url = "file://.",
}

description = {
  summary = "Events between nginx workers, a replacement for lua-resty-worker-events",
  detailed = [[
    resty.worker.events with the calls and options of lua-resty-worker-events 2.0.1, and resty.seqcast, over a
    lock-free event bus in shared memory: one order for all workers, unique events, safe when a worker is killed or
    stopped at any moment.
    Needs Rust to build.
  ]],
  license = "MIT OR Apache-2.0",
  labels = { "openresty", "nginx", "events", "ipc" },
}

supported_platforms = { "linux" }

-- LuaJIT with FFI, lua-resty-core and cjson come with OpenResty.
dependencies = {
  "lua == 5.1",
}

build = {
  type = "make",
  build_variables = {
    CARGO = "cargo",
  },
  install_variables = {
    LUA_DIR = "$(LUADIR)",
    LIB_DIR = "$(LIBDIR)",
  },
}
