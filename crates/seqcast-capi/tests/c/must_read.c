/* Seats that posts wait for, and posts that do not wait. */
#include <pthread.h>
#include <sched.h>

#include "check.h"

/* A ring of 8 events whose seats may have posts wait for at most `most`. */
static seqcast_bus *ring_of_8(int64_t most) {
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.capacity = 8;
    options.claims = 64;
    options.seats = 8;
    options.most_patience_ns = most;
    seqcast_bus *bus;
    CHECK_IS(seqcast_bus_anonymous(&options, &bus), 0);
    return bus;
}

static seqcast_seat *must_read(const seqcast_bus *bus, uint64_t patience) {
    seqcast_seat_options options = quiet();
    options.label = "state";
    options.label_len = 5;
    options.wait_interval_ns = MS;
    options.wait_max_ns = 2 * MS;
    options.must_read_ns = patience;
    seqcast_seat *seat;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    return seat;
}

static int try_post(seqcast_seat *seat, const seqcast_post_options *options, uint64_t *id) {
    return seqcast_seat_try_post(seat, "s", 1, "e", 1, "p", 1, options, id);
}

static uint64_t figure(const seqcast_bus *bus, size_t row, const char *name) {
    seqcast_stats *stats;
    uint64_t value = UINT64_MAX;
    CHECK_IS(seqcast_bus_stats(bus, &stats), 0);
    CHECK_IS(seqcast_stats_get(stats, row, TEXT(name), &value), 1);
    CHECK_IS(seqcast_stats_free(stats), 0);
    return value;
}

static void g17_a_post_that_does_not_wait_says_which_seat_has_no_room(void) {
    seqcast_bus *bus = ring_of_8(0);
    seqcast_seat *slow = must_read(bus, SECOND), *poster = publisher(bus);
    CHECK(figure(bus, 0, "most_patience_ns") == SECOND);
    CHECK(figure(bus, 1, "must_read_ns") == SECOND);
    seqcast_full full;
    memset(&full, 7, sizeof full);
    CHECK_IS(seqcast_error_full(&full), 0);
    CHECK(full.lag == 0x0707070707070707);

    uint64_t id = UINT64_MAX, number = 77;
    for (uint64_t i = 0; i < 8; i++) {
        CHECK_IS(try_post(poster, NULL, &id), 0);
        CHECK(id == i);
    }
    CHECK_IS(try_post(poster, NULL, &number), SEQCAST_E_FULL);
    CHECK(number == 77);
    CHECK_MESSAGE("state");
    CHECK_IS(seqcast_error_full(&full), 1);
    CHECK(full.lag == 8 && full.patience_ns == SECOND && full.own == 0);
    CHECK(full.seat == (uint32_t)seqcast_seat_number(slow) && full.pid == (uint32_t)getpid());
    CHECK(strcmp(full.label, "state") == 0 && full.more[0] == 0 && full.more[3] == 0);

    /* Nothing of the kind is possible now, and the values stay those of the last failure. */
    seqcast_post_options retain = {0};
    retain.size = sizeof retain;
    retain.retain = 1;
    CHECK_IS(try_post(poster, &retain, NULL), SEQCAST_E_FULL);
    CHECK_IS(seqcast_seat_try_reserve(poster, &number), SEQCAST_E_FULL);
    CHECK(number == 77);
    CHECK_IS(seqcast_bus_next_id(bus, &number), 0);
    CHECK(number == 8);
    CHECK_IS(seqcast_error_full(&full), 1);
    CHECK_IS(seqcast_seat_post(poster, "", 0, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_TOPIC);
    CHECK_IS(seqcast_error_full(&full), 0);

    /* A seat that must read has room again when it has read, and it has missed nothing. */
    for (uint64_t i = 0; i < 8; i++)
        CHECK(expect_event(slow, "p")->id == i);
    expect_nothing(slow);
    CHECK_IS(try_post(poster, &retain, &id), 0);
    CHECK(id == 8);
    CHECK_IS(seqcast_seat_try_reserve(poster, &number), 0);
    CHECK(number == 9);
    CHECK_IS(seqcast_seat_abandon(poster, number), 1);
    CHECK_IS(seqcast_seat_try_clear(poster, "s", 1, "e", 1, NULL, 0, &number), 1);
    CHECK_IS(seqcast_seat_try_clear(poster, "s", 1, "e", 1, NULL, 0, &number), 0);
    CHECK(number == 10);
    CHECK(figure(bus, 2, "room_refused") == 3);
    CHECK(figure(bus, 2, "room_waits") == 0);

    /* The clear of what is retained has no room, either, and clears nothing then. */
    CHECK_IS(try_post(poster, &retain, NULL), 0);
    while (try_post(poster, NULL, NULL) == 0)
        ;
    const seqcast_retained *found;
    CHECK_IS(seqcast_seat_try_clear(poster, "s", 1, "e", 1, NULL, 0, NULL), SEQCAST_E_FULL);
    CHECK_IS(seqcast_seat_get(poster, "s", 1, "e", 1, NULL, 0, &found), 1);
    seqcast_seat_free(slow), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void g18_a_seat_that_must_read_never_waits(void) {
    seqcast_bus *bus = ring_of_8(0);
    seqcast_seat *seat = must_read(bus, SECOND);
    for (int i = 0; i < 8; i++)
        post(seat, "p");
    seqcast_full full;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, NULL, NULL), SEQCAST_E_FULL);
    CHECK_IS(seqcast_error_full(&full), 1);
    CHECK(full.own == 1 && full.lag == 8 && full.seat == (uint32_t)seqcast_seat_number(seat));
    CHECK_MESSAGE("poll before it posts more");
    expect_event(seat, "p");
    post(seat, "p");
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void g16_a_seat_that_was_cut_off_is_told_so(void) {
    seqcast_bus *bus = ring_of_8(0);
    seqcast_seat *slow = must_read(bus, 3 * MS), *lax = subscribe(bus), *poster = publisher(bus);
    for (int i = 0; i < 20; i++)
        post(poster, "p");
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_next(slow, 0, &delivery), 1);
    CHECK_IS(delivery->kind, SEQCAST_LAGGED);
    CHECK_IS(delivery->id, 0);
    CHECK(delivery->missed >= 12 && delivery->missed < 20);
    CHECK_IS(delivery->cut_off, 1);
    CHECK_IS(expect_event(slow, "p")->cut_off, 0);
    CHECK_IS(seqcast_seat_next(lax, 0, &delivery), 1);
    CHECK_IS(delivery->kind, SEQCAST_LAGGED);
    CHECK_IS(delivery->cut_off, 0);
    CHECK(figure(bus, 1, "cut_off") == 1);
    CHECK(figure(bus, 3, "room_waits") == 1);

    /* From its read on, posts wait for it again. */
    while (seqcast_seat_next(slow, 0, &delivery) > 0)
        ;
    int posted = 0;
    while (try_post(poster, NULL, NULL) == 0)
        posted++;
    CHECK_IS(posted, 8);
    seqcast_full full;
    CHECK_IS(seqcast_error_full(&full), 1);
    CHECK(full.patience_ns == 3 * MS);
    seqcast_seat_free(slow), seqcast_seat_free(lax), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

/* Reads all that the other thread posts, and checks that nothing is missing. */
static void *reads(void *seat) {
    uint64_t next = 0;
    while (next < 1000) {
        const seqcast_delivery *delivery;
        CHECK(seqcast_seat_next(seat, HOUR, &delivery) >= 0);
        if (delivery->kind == SEQCAST_NOTHING)
            continue;
        CHECK_IS(delivery->kind, SEQCAST_EVENT);
        CHECK(delivery->id == next++);
        if (next % 16 == 0)
            sched_yield();
    }
    return NULL;
}

static void g16_posts_wait_for_a_seat_that_reads_on(void) {
    seqcast_bus *bus = ring_of_8((int64_t)HOUR);
    seqcast_seat *slow = must_read(bus, HOUR), *poster = publisher(bus);
    pthread_t thread;
    CHECK_IS(pthread_create(&thread, NULL, reads, slow), 0);
    for (int i = 0; i < 1000; i++)
        post(poster, "p");
    CHECK_IS(pthread_join(thread, NULL), 0);
    CHECK(figure(bus, 1, "missed") == 0);
    seqcast_seat_free(slow), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_patience_that_the_segment_does_not_allow_is_refused(void) {
    seqcast_bus *none = ring_of_8(-1), *some = ring_of_8(5 * (int64_t)MS);
    seqcast_seat_options options = quiet();
    seqcast_seat *seat;
    options.must_read_ns = 20 * MS;
    options.wait_interval_ns = MS;
    options.wait_max_ns = MS;
    CHECK_IS(seqcast_bus_subscribe(some, &options, &seat), SEQCAST_E_OPTION);
    CHECK_MESSAGE("5ms");
    CHECK_IS(seqcast_bus_subscribe(none, &options, &seat), SEQCAST_E_OPTION);
    CHECK(seat == NULL);
    options.must_read_ns = MS;
    CHECK_IS(seqcast_bus_subscribe(some, &options, &seat), SEQCAST_E_OPTION);
    CHECK_MESSAGE("wait_max");
    options.must_read_ns = 5 * MS;
    CHECK_IS(seqcast_bus_subscribe(some, &options, &seat), 0);
    CHECK(figure(some, 1, "must_read_ns") == 5 * MS);
    CHECK(figure(none, 0, "most_patience_ns") == 0);
    seqcast_seat_free(seat), seqcast_bus_free(none), seqcast_bus_free(some);
}

int main(int argc, char **argv) {
    CHECK(argc == 2 && argv[1] != NULL);
    g17_a_post_that_does_not_wait_says_which_seat_has_no_room();
    g18_a_seat_that_must_read_never_waits();
    g16_a_seat_that_was_cut_off_is_told_so();
    g16_posts_wait_for_a_seat_that_reads_on();
    a_patience_that_the_segment_does_not_allow_is_refused();
    return 0;
}
