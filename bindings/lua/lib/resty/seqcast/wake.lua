--- Wakes a light thread of nginx after a post.
--
-- A seat has a descriptor for event loops, but in nginx Lua can only wait for sockets. Therefore a thread of the
-- library sends a byte to a socket, and Lua waits at the other end. Both ends belong to this worker, on the loopback
-- interface.

local ffi = require "ffi"
local seqcast = require "resty.seqcast"

local C = seqcast.C
local libc = ffi.C

local pcall = pcall
local random = math.random
local setmetatable = setmetatable
local tonumber = tonumber
local tostring = tostring
local ffi_new = ffi.new
local ffi_sizeof = ffi.sizeof
local ffi_string = ffi.string

-- Declared with names of our own: another module may have declared the functions differently.
if not pcall(ffi.typeof, "struct seqcast_address") then
  ffi.cdef [[
    struct seqcast_address { uint16_t family; uint16_t port; uint8_t ip[4]; char zero[8]; };
    int seqcast_libc_socket(int domain, int type, int protocol) __asm__("socket");
    int seqcast_libc_bind(int fd, const void *address, uint32_t len) __asm__("bind");
    int seqcast_libc_connect(int fd, const void *address, uint32_t len) __asm__("connect");
    int seqcast_libc_getsockname(int fd, void *address, uint32_t *len) __asm__("getsockname");
    intptr_t seqcast_libc_recvfrom(int fd, void *buffer, size_t len, int flags, void *address, uint32_t *address_len)
      __asm__("recvfrom");
    intptr_t seqcast_libc_send(int fd, const void *buffer, size_t len, int flags) __asm__("send");
    int seqcast_libc_close(int fd) __asm__("close");
    char *seqcast_libc_strerror(int number) __asm__("strerror");
  ]]
end

-- Linux has these values on all processors except a few that seqcast does not support.
local AF_INET, SOCK_DGRAM, SOCK_CLOEXEC, SOCK_NONBLOCK = 2, 2, 524288, 2048
local MSG_DONTWAIT, MSG_NOSIGNAL = 64, 16384

-- In milliseconds: the longest that nginx accepts. The background poll has its own interval.
local NO_TIMEOUT = 2147483647
-- In nanoseconds: a day.
local SELDOM = 86400 * 1e9

local BELL_TICK = tonumber(C.SEQCAST_BELL_TICK)

local _M = {}

local Waker = {}
Waker.__index = Waker

local function failed(call)
  return nil, call .. ": " .. ffi_string(libc.seqcast_libc_strerror(ffi.errno()))
end

local function library_error()
  return nil, ffi_string(C.seqcast_error_message())
end

--- Connects a cosocket with a descriptor. Returns the cosocket, or nil and an error.
local function connect(fd)
  local address, len = ffi_new("struct seqcast_address"), ffi_new("uint32_t[1]", ffi_sizeof("struct seqcast_address"))
  address.family, address.ip[0], address.ip[3] = AF_INET, 127, 1
  if libc.seqcast_libc_bind(fd, address, len[0]) ~= 0 then
    return failed("bind")
  end
  if libc.seqcast_libc_getsockname(fd, address, len) ~= 0 then
    return failed("getsockname")
  end
  local port = address.port
  -- In network order.
  port = port % 256 * 256 + (port - port % 256) / 256
  local socket = ngx.socket.udp()
  local ok, err = socket:setpeername("127.0.0.1", port)
  if not ok then
    return nil, err
  end
  -- Tells the cosocket's packet from those that other processes may send meanwhile.
  local token = ngx.worker.pid() .. " " .. tostring(socket) .. " " .. random()
  ok, err = socket:send(token)
  if not ok then
    return nil, err
  end
  local buffer = ffi_new("char[?]", #token + 1)
  repeat
    len[0] = ffi_sizeof(address)
    local count = libc.seqcast_libc_recvfrom(fd, buffer, #token + 1, MSG_DONTWAIT, address, len)
    if count < 0 then
      return failed("recvfrom")
    end
  until ffi_string(buffer, count) == token
  if libc.seqcast_libc_connect(fd, address, len[0]) ~= 0 then
    return failed("connect")
  end
  return socket
end

--- Returns a waker for the seat of `handle`. If the seat is armed, a post ends the waker's `wait`. Returns nil and an
-- error if that is not possible here.
function _M.start(handle)
  local fd = libc.seqcast_libc_socket(AF_INET, SOCK_DGRAM + SOCK_CLOEXEC + SOCK_NONBLOCK, 0)
  if fd < 0 then
    return failed("socket")
  end
  local socket, err = connect(fd)
  if not socket then
    libc.seqcast_libc_close(fd)
    return nil, err
  end
  local options = ffi_new("seqcast_bell_options")
  options.size = ffi_sizeof(options)
  options.interval_ns, options.tick_ns = SELDOM, SELDOM
  local result = C.seqcast_seat_forward(handle, options, fd)
  if result >= 0 then
    result = C.seqcast_seat_bell_kind(handle)
  end
  if result < 0 or result == BELL_TICK then
    local _
    if result < 0 then
      _, err = library_error()
    else
      err = "posts are not heard here"
    end
    libc.seqcast_libc_close(fd)
    socket:close()
    return nil, err
  end
  socket:settimeout(NO_TIMEOUT)
  return setmetatable({ socket = socket, fd = fd }, Waker)
end

--- Waits for a byte. Returns nil and an error if none can come any more.
function Waker:wait()
  return self.socket:receive(16)
end

--- Ends a wait.
function Waker:ring()
  libc.seqcast_libc_send(self.fd, "x", 1, MSG_DONTWAIT + MSG_NOSIGNAL)
end

--- Frees the sockets. Only the light thread that has waited calls it, after its last wait.
function Waker:close()
  libc.seqcast_libc_close(self.fd)
  self.socket:close()
end

return _M
