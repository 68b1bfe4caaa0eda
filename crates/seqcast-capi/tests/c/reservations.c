/* Reserved ids. */
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

static void commit(seqcast_seat *seat, uint64_t id, const char *payload, int expected) {
    CHECK_IS(seqcast_seat_commit(seat, id, "s", 1, "e", 1, payload, strlen(payload), NULL), expected);
}

/* At a reserved id there is nothing to handle, so a loop ends. */
static void expect_reserved(seqcast_seat *seat, uint64_t id, int own) {
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 0);
    CHECK_IS(delivery->kind, SEQCAST_RESERVED);
    CHECK_IS(delivery->id, id);
    CHECK_IS(delivery->own, own);
    CHECK(delivery->source != NULL && delivery->source_len == 0);
}

/* A seat that waits long at a reserved id. */
static seqcast_seat *patient(const seqcast_bus *bus) {
    seqcast_seat_options options = quiet();
    options.wait_max_ns = HOUR;
    seqcast_seat *seat;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    return seat;
}

static void what_comes_after_a_reserved_id_is_delivered_after_it(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = patient(bus), *reserver = subscribe(bus), *poster = publisher(bus);
    uint64_t id;
    CHECK_IS(seqcast_seat_reserve(reserver, &id), 0);
    uint64_t after = post(poster, "after");
    CHECK(after > id);
    expect_reserved(seat, id, 0);
    expect_reserved(seat, id, 0);
    expect_reserved(reserver, id, 1);
    CHECK_IS(seqcast_seat_wait(seat, MS), 0);

    /* A commit that fails keeps the reservation. */
    commit(reserver, id + 1, "another id", SEQCAST_E_TOO_LATE);
    CHECK_IS(seqcast_seat_commit(reserver, id, "", 0, "e", 1, NULL, 0, NULL), SEQCAST_E_TOPIC);
    char large[4096];
    memset(large, 'x', sizeof large);
    CHECK_IS(seqcast_seat_commit(reserver, id, "s", 1, "e", 1, large, sizeof large, NULL),
             SEQCAST_E_PAYLOAD_TOO_LARGE);
    commit(poster, id, "not its own", SEQCAST_E_TOO_LATE);
    expect_reserved(seat, id, 0);

    commit(reserver, id, "reserved", 0);
    CHECK_IS(seqcast_seat_wait(seat, HOUR), 1);
    CHECK_IS(expect_event(seat, "reserved")->id, id);
    CHECK_IS(expect_event(seat, "after")->id, after);
    expect_event(reserver, "reserved");
    commit(reserver, id, "twice", SEQCAST_E_TOO_LATE);
    CHECK_IS(seqcast_seat_abandon(reserver, id), 0);
    seqcast_seat_free(seat), seqcast_seat_free(reserver), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_reserved_event_has_a_tag_and_a_key(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = patient(bus), *other = patient(bus), *poster = publisher(bus);
    uint64_t id;
    CHECK_IS(seqcast_seat_reserve(poster, &id), 0);
    seqcast_post_options options = {0};
    options.size = sizeof options;
    options.type_tag = 7;
    options.key = "k";
    options.key_len = 1;
    CHECK_IS(seqcast_seat_commit(poster, id, "s", 1, "e", 1, "p", 1, &options), 0);
    const seqcast_delivery *delivery = expect_event(seat, "p");
    CHECK(delivery->type_tag == 7 && delivery->unique == 1);
    expect_nothing(other);
    seqcast_seat_free(seat), seqcast_seat_free(other), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void an_id_that_is_given_up_is_no_event(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = patient(bus), *poster = publisher(bus);
    uint64_t id, second;
    CHECK_IS(seqcast_seat_reserve(poster, &id), 0);
    CHECK_IS(seqcast_seat_abandon(poster, id + 1), 0);
    expect_reserved(seat, id, 0);
    CHECK_IS(seqcast_seat_abandon(poster, id), 1);
    expect_nothing(seat);
    commit(poster, id, "too late", SEQCAST_E_TOO_LATE);

    /* A second reservation gives up the first, and so does leaving. */
    CHECK_IS(seqcast_seat_reserve(poster, &id), 0);
    CHECK_IS(seqcast_seat_reserve(poster, &second), 0);
    commit(poster, id, "the first", SEQCAST_E_TOO_LATE);
    expect_reserved(seat, second, 0);
    CHECK_IS(seqcast_seat_free(poster), 0);
    expect_nothing(seat);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void a_reader_gives_up_the_id_of_a_killed_process(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = patient(bus), *poster = publisher(bus);
    int ready[2], status;
    CHECK_IS(pipe(ready), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        uint64_t id;
        CHECK_IS(seqcast_seat_reserve(publisher(bus), &id), 0);
        CHECK_IS(write(ready[1], "x", 1), 1);
        pause();
    }
    char byte;
    CHECK_IS(read(ready[0], &byte, 1), 1);
    post(poster, "after");
    expect_reserved(seat, 0, 0);
    CHECK_IS(kill(child, SIGKILL), 0);
    CHECK_IS(waitpid(child, &status, 0), child);
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_next(seat, HOUR, &delivery), 1);
    CHECK(same(delivery->payload, delivery->payload_len, "after"));
    close(ready[0]), close(ready[1]);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void how_long_a_seat_waits_is_changed_while_it_waits(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = patient(bus), *poster = publisher(bus);
    uint64_t id;
    CHECK_IS(seqcast_seat_reserve(poster, &id), 0);
    post(poster, "after");
    expect_reserved(seat, id, 0);
    CHECK_IS(seqcast_seat_set_wait_max(seat, MS), 0);
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_next(seat, HOUR, &delivery), 1);
    CHECK(same(delivery->payload, delivery->payload_len, "after"));
    commit(poster, id, "too late", SEQCAST_E_TOO_LATE);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

/* A seat that waits for a reserved id claims the unique events after it. If it leaves then, it must run them. */
static void what_was_claimed_ahead_is_given_after_leaving(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = patient(bus), *other = patient(bus), *poster = publisher(bus), *reserver = publisher(bus);
    uint64_t id;
    CHECK_IS(seqcast_seat_reserve(reserver, &id), 0);
    seqcast_post_options options = {0};
    options.size = sizeof options;
    options.key = "k";
    options.key_len = 1;
    options.ttl_ns = HOUR;
    CHECK_IS(seqcast_seat_post(poster, "jobs", 4, "one", 3, "first", 5, &options, NULL), 0);
    options.key = "l";
    CHECK_IS(seqcast_seat_post(poster, "jobs", 4, "two", 3, "second", 6, &options, NULL), 0);
    expect_reserved(seat, id, 0);
    CHECK_IS(seqcast_seat_leave(seat), 0);

    const seqcast_delivery *delivery;
    const char *events[] = {"one", "two"}, *payloads[] = {"first", "second"};
    for (int i = 0; i < 2; i++) {
        CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
        CHECK_IS(delivery->kind, SEQCAST_EVENT);
        CHECK_IS(delivery->unique, 1);
        CHECK(same(delivery->source, delivery->source_len, "jobs"));
        CHECK(same(delivery->event, delivery->event_len, events[i]));
        CHECK(same(delivery->payload, delivery->payload_len, payloads[i]));
    }
    expect_nothing(seat);
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(seqcast_seat_abandon(reserver, id), 1);
    expect_nothing(other);
    seqcast_seat_free(other), seqcast_seat_free(poster), seqcast_seat_free(reserver), seqcast_bus_free(bus);
}

int main(void) {
    what_comes_after_a_reserved_id_is_delivered_after_it();
    a_reserved_event_has_a_tag_and_a_key();
    an_id_that_is_given_up_is_no_event();
    a_reader_gives_up_the_id_of_a_killed_process();
    how_long_a_seat_waits_is_changed_while_it_waits();
    what_was_claimed_ahead_is_given_after_leaving();
    return 0;
}
