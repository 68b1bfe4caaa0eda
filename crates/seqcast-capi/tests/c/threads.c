/* Any number of threads may use a bus, and one at a time a seat. Each thread has its own last error. */
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

#define THREADS 4
#define POSTS 500

static seqcast_bus *bus;
static seqcast_seat *shared;
static atomic_int waiting;

static void *posts(void *number) {
    seqcast_seat *seat = publisher(bus);
    for (int i = 0; i < POSTS; i++)
        post(seat, number);
    CHECK_IS(seqcast_seat_free(seat), 0);
    return NULL;
}

static void threads_post_by_seats_of_their_own(void) {
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.capacity = 4096;
    CHECK_IS(seqcast_bus_anonymous(&options, &bus), 0);
    seqcast_seat *seat = subscribe(bus);
    pthread_t threads[THREADS];
    char names[THREADS][2];
    for (int i = 0; i < THREADS; i++) {
        snprintf(names[i], 2, "%d", i);
        CHECK_IS(pthread_create(&threads[i], NULL, posts, names[i]), 0);
    }
    int counts[THREADS] = {0}, count = 0;
    const seqcast_delivery *delivery;
    while (count < THREADS * POSTS) {
        CHECK_IS(seqcast_seat_next(seat, HOUR, &delivery), 1);
        CHECK_IS(delivery->kind, SEQCAST_EVENT);
        counts[*(const char *)delivery->payload - '0']++;
        count++;
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_IS(pthread_join(threads[i], NULL), 0);
        CHECK_IS(counts[i], POSTS);
    }
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
}

static void *waits(void *unused) {
    (void)unused;
    atomic_store(&waiting, 1);
    const seqcast_delivery *delivery;
    int result;
    /* The other thread may be inside a call when this one begins. */
    do {
        result = seqcast_seat_next(shared, HOUR, &delivery);
    } while (result == SEQCAST_E_IN_USE);
    CHECK_IS(result, 1);
    CHECK(same(delivery->payload, delivery->payload_len, "go"));
    return NULL;
}

static void a_second_thread_in_a_seat_gets_an_error(void) {
    bus = small_bus();
    shared = subscribe(bus);
    seqcast_seat *poster = publisher(bus);
    pthread_t thread;
    CHECK_IS(pthread_create(&thread, NULL, waits, NULL), 0);
    int result;
    /* The thread is about to enter the call, or is in it. */
    do {
        result = atomic_load(&waiting) ? seqcast_seat_number(shared) : 0;
    } while (result >= 0);
    CHECK_IS(result, SEQCAST_E_IN_USE);
    CHECK_IS(seqcast_seat_post(shared, "s", 1, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_IN_USE);
    CHECK_IS(seqcast_seat_free(shared), SEQCAST_E_IN_USE);
    CHECK_MESSAGE("another thread");
    post(poster, "go");
    CHECK_IS(pthread_join(thread, NULL), 0);
    /* The seat moved to that thread and back. */
    post(shared, "mine again");
    expect_event(shared, "mine again");
    CHECK_IS(seqcast_seat_free(shared), 0);
    CHECK_IS(seqcast_seat_free(poster), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
}

static void *fails_otherwise(void *unused) {
    (void)unused;
    CHECK(*seqcast_error_message() == '\0');
    CHECK_IS(seqcast_bus_unlink(NULL), SEQCAST_E_NULL);
    CHECK_MESSAGE("bus is null");
    return NULL;
}

static void each_thread_has_its_own_last_error(void) {
    CHECK_IS(seqcast_seat_leave(NULL), SEQCAST_E_NULL);
    pthread_t thread;
    CHECK_IS(pthread_create(&thread, NULL, fails_otherwise, NULL), 0);
    CHECK_IS(pthread_join(thread, NULL), 0);
    CHECK_MESSAGE("seat is null");
}

static void *opens_and_frees(void *unused) {
    (void)unused;
    for (int i = 0; i < 200; i++) {
        seqcast_seat *seat = publisher(bus);
        post(seat, "x");
        CHECK_IS(seqcast_seat_free(seat), 0);
        CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_HANDLE);
    }
    return NULL;
}

static void threads_take_and_free_seats_at_the_same_time(void) {
    bus = small_bus();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_create(&threads[i], NULL, opens_and_frees, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_IS(pthread_join(threads[i], NULL), 0);
    uint64_t next;
    CHECK_IS(seqcast_bus_next_id(bus, &next), 0);
    CHECK_IS(next, THREADS * 200);
    CHECK_IS(seqcast_bus_free(bus), 0);
}

int main(void) {
    threads_post_by_seats_of_their_own();
    a_second_thread_in_a_seat_gets_an_error();
    each_thread_has_its_own_last_error();
    threads_take_and_free_seats_at_the_same_time();
    return 0;
}
