// The header in C++, with handles that are freed by destructors.
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"

namespace {

struct Free {
    void operator()(seqcast_bus *bus) const { seqcast_bus_free(bus); }
    void operator()(seqcast_seat *seat) const { seqcast_seat_free(seat); }
};

using Bus = std::unique_ptr<seqcast_bus, Free>;
using Seat = std::unique_ptr<seqcast_seat, Free>;

int checked(int result) {
    if (result < 0)
        throw std::runtime_error(seqcast_error_message());
    return result;
}

Bus open(const std::string &name) {
    seqcast_bus_options options = seqcast_bus_options();
    options.size = sizeof options;
    options.capacity = 64;
    options.unlink_on_free = 1;
    seqcast_bus *bus = nullptr;
    checked(seqcast_bus_open_or_create(name.data(), name.size(), &options, &bus));
    return Bus(bus);
}

Seat join(const Bus &bus) {
    seqcast_seat *seat = nullptr;
    checked(seqcast_bus_subscribe(bus.get(), nullptr, &seat));
    return Seat(seat);
}

void say(const Seat &seat, const std::string &source, const std::string &event, const std::string &payload) {
    checked(seqcast_seat_post(seat.get(), source.data(), source.size(), event.data(), event.size(), payload.data(),
                              payload.size(), nullptr, nullptr));
}

std::vector<std::string> drain(const Seat &seat) {
    std::vector<std::string> events;
    const seqcast_delivery *delivery = nullptr;
    while (checked(seqcast_seat_next(seat.get(), 0, &delivery)) > 0)
        if (delivery->kind == SEQCAST_EVENT)
            events.emplace_back(std::string(delivery->source, delivery->source_len) + "/" +
                                std::string(delivery->event, delivery->event_len) + "=" +
                                std::string(static_cast<const char *>(delivery->payload), delivery->payload_len));
    return events;
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 2);
    Bus bus = open(argv[1]);
    Seat one = join(bus), other = join(bus);
    say(one, "cache", "stale", "user:42");
    const std::vector<std::string> expected = {"seqcast/started=", "seqcast/started=", "cache/stale=user:42"};
    CHECK(drain(one) == expected);
    CHECK(drain(other).back() == expected.back());
    bool thrown = false;
    try {
        say(one, "", "stale", "");
    } catch (const std::runtime_error &error) {
        thrown = std::string(error.what()).find("the source is 0 bytes long") != std::string::npos;
    }
    CHECK(thrown);
    return 0;
}
