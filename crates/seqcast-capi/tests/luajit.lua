-- The declarations in LuaJIT: arguments are the declarations, the library and the name of a segment.
local ffi = require "ffi"

local declarations = assert(io.open(arg[1])):read("*a")
ffi.cdef(declarations)
local C = ffi.load(arg[2])
local name = arg[3]

local function message()
    return ffi.string(C.seqcast_error_message())
end

local function checked(result)
    if result < 0 then
        error(message(), 2)
    end
    return result
end

local function equal(got, wanted)
    if got ~= wanted then
        error(tostring(got) .. ", not " .. tostring(wanted) .. ": " .. message(), 2)
    end
end

assert(C.seqcast_abi() == C.SEQCAST_ABI)

-- Mistakes of Lua code give errors: nil is null.
local delivery = ffi.new("const seqcast_delivery *[1]")
equal(C.seqcast_seat_next(nil, 0, delivery), C.SEQCAST_E_NULL)
equal(C.seqcast_seat_post(nil, "s", 1, "e", 1, nil, 0, nil, nil), C.SEQCAST_E_NULL)
equal(C.seqcast_bus_open(nil, 3, nil, nil), C.SEQCAST_E_NULL)
equal(C.seqcast_seat_free(nil), 0)
equal(C.seqcast_bus_subscribe(ffi.cast("seqcast_bus *", 12345), nil, ffi.new("seqcast_seat *[1]")), C.SEQCAST_E_HANDLE)

local options = ffi.new("seqcast_bus_options", { ffi.sizeof("seqcast_bus_options") })
options.capacity = 64
options.unlink_on_free = 1
local out = ffi.new("seqcast_bus *[1]")
checked(C.seqcast_bus_open_or_create(name, #name, options, out))
-- Collected when it is no longer used. The function keeps the library loaded.
local bus = ffi.gc(out[0], function(bus) C.seqcast_bus_free(bus) end)

local function subscribe()
    local label = "lua"
    local options = ffi.new("seqcast_seat_options", { ffi.sizeof("seqcast_seat_options") })
    options.label, options.label_len = label, #label
    options.silent = 1
    local out = ffi.new("seqcast_seat *[1]")
    checked(C.seqcast_bus_subscribe(bus, options, out))
    return out[0]
end

local seat, other = subscribe(), subscribe()

-- A loop long enough to be compiled.
local id = ffi.new("uint64_t[1]")
local count, bytes = 0, 0
for i = 1, 2000 do
    local payload = "payload " .. i
    checked(C.seqcast_seat_post(seat, "cache", 5, "stale", 5, payload, #payload, nil, id))
    while checked(C.seqcast_seat_next(other, 0, delivery)) > 0 do
        local event = delivery[0]
        assert(event.kind == C.SEQCAST_EVENT and event.own == 1)
        assert(event.id == id[0])
        assert(ffi.string(event.source, event.source_len) == "cache")
        assert(ffi.string(event.payload, event.payload_len) == payload)
        count, bytes = count + 1, bytes + tonumber(event.payload_len)
    end
end
equal(count, 2000)
assert(bytes > 2000 * 9)

-- Empty payloads, and the unused pointers of an empty delivery, can be read without a check for null.
checked(C.seqcast_seat_post(seat, "cache", 5, "stale", 5, nil, 0, nil, nil))
equal(C.seqcast_seat_next(other, 0, delivery), 1)
equal(ffi.string(delivery[0].payload, delivery[0].payload_len), "")
equal(C.seqcast_seat_next(other, 0, delivery), 0)
equal(ffi.string(delivery[0].source, delivery[0].source_len), "")

-- A unique event and its claim, which is copied out of the delivery.
local key = "nightly"
local post = ffi.new("seqcast_post_options", { ffi.sizeof("seqcast_post_options") })
post.key, post.key_len, post.ttl_ns = key, #key, 3600 * 1000000000ULL
while C.seqcast_seat_next(seat, 0, delivery) > 0 do end
checked(C.seqcast_seat_post(seat, "jobs", 4, "run", 3, nil, 0, post, nil))
equal(C.seqcast_seat_next(seat, 0, delivery), 1)
equal(delivery[0].unique, 1)
local claim = ffi.new("seqcast_claim", delivery[0].claim)
equal(C.seqcast_seat_next(other, 0, delivery), 0)
equal(C.seqcast_seat_release(other, claim), 1)
equal(C.seqcast_seat_release(other, claim), 0)

local buffer = ffi.new("char[?]", 256)
equal(ffi.string(buffer, C.seqcast_bus_name(bus, buffer, 256)), "/" .. name)

equal(C.seqcast_seat_free(seat), 0)
equal(C.seqcast_seat_free(seat), C.SEQCAST_E_HANDLE)
assert(message():find("freed before", 1, true))
equal(C.seqcast_seat_free(other), 0)
bus = nil
collectgarbage()
collectgarbage()
equal(C.seqcast_bus_open(name, #name, nil, out), C.SEQCAST_E_NOT_FOUND)
