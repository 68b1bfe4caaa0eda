/* Shared by the test programs. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "seqcast.h"

/* Ends the program unless `condition` holds. */
#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s\n  last error: %s\n", __FILE__, __LINE__, #condition, seqcast_error_message()); \
            _exit(1);                                                                                                 \
        }                                                                                                             \
    } while (0)

/* Ends the program unless `call` returns `expected`. */
#define CHECK_IS(call, expected)                                                                                     \
    do {                                                                                                             \
        long long got_ = (call), wanted_ = (expected);                                                               \
        if (got_ != wanted_) {                                                                                       \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n  last error: %s\n", __FILE__, __LINE__, #call, got_,      \
                    wanted_, seqcast_error_message());                                                               \
            _exit(1);                                                                                                \
        }                                                                                                            \
    } while (0)

/* Ends the program unless the text of the last error contains `part`. */
#define CHECK_MESSAGE(part) CHECK(strstr(seqcast_error_message(), part) != NULL)

#define MS 1000000ull
#define SECOND 1000000000ull
/* Longer than any test runs. */
#define HOUR (3600 * SECOND)

/* A text and its length, as two arguments. */
#define TEXT(text) (text), strlen(text)

/* A small segment without a name. */
static inline seqcast_bus *small_bus(void) {
    seqcast_bus_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.capacity = 64;
    options.claims = 64;
    options.seats = 16;
    seqcast_bus *bus;
    CHECK_IS(seqcast_bus_anonymous(&options, &bus), 0);
    return bus;
}

/* Options of a seat that announces nothing. */
static inline seqcast_seat_options quiet(void) {
    seqcast_seat_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.silent = 1;
    return options;
}

static inline seqcast_seat *subscribe(const seqcast_bus *bus) {
    seqcast_seat_options options = quiet();
    seqcast_seat *seat;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    return seat;
}

static inline seqcast_seat *publisher(const seqcast_bus *bus) {
    seqcast_seat *seat;
    CHECK_IS(seqcast_bus_publisher(bus, NULL, &seat), 0);
    return seat;
}

/* Posts `payload` as source "s" and event "e". Returns the id. */
static inline uint64_t post(seqcast_seat *seat, const char *payload) {
    uint64_t id = UINT64_MAX;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, payload, strlen(payload), NULL, &id), 0);
    return id;
}

/* Returns 1 if the bytes are those of the text. */
static inline int same(const void *data, size_t len, const char *text) {
    return len == strlen(text) && memcmp(data, text, len) == 0;
}

/* Takes the next delivery, which must be the event "s", "e" with this payload. */
static inline const seqcast_delivery *expect_event(seqcast_seat *seat, const char *payload) {
    const seqcast_delivery *delivery = NULL;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
    CHECK_IS(delivery->kind, SEQCAST_EVENT);
    CHECK(same(delivery->source, delivery->source_len, "s"));
    CHECK(same(delivery->event, delivery->event_len, "e"));
    CHECK(same(delivery->payload, delivery->payload_len, payload));
    return delivery;
}

/* There must be nothing to take. */
static inline void expect_nothing(seqcast_seat *seat) {
    const seqcast_delivery *delivery = NULL;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 0);
    CHECK_IS(delivery->kind, SEQCAST_NOTHING);
}

#endif
