/* The processor time of a call, least of several rounds: make run-bench. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "seqcast.h"

enum { ROUNDS = 15, CALLS = 200000 };

static seqcast_bus *bus;
static seqcast_seat *seat, *poster;
static char payload[64];

static void check(int result) {
    if (result < 0) {
        fprintf(stderr, "%s\n", seqcast_error_message());
        exit(1);
    }
}

static void next(void) {
    const seqcast_delivery *delivery;
    check(seqcast_seat_next(seat, 0, &delivery));
}

static void post(void) {
    check(seqcast_seat_post(poster, "cache", 5, "stale", 5, payload, sizeof payload, NULL, NULL));
}

static void post_and_take(void) {
    post();
    next();
}

static void post_unique_and_take(void) {
    seqcast_post_options options = {0};
    options.size = sizeof options;
    options.key = "key";
    options.key_len = 3;
    options.ttl_ns = 1;
    check(seqcast_seat_post(poster, "cache", 5, "stale", 5, payload, sizeof payload, &options, NULL));
    next();
}

static void claim_and_release(void) {
    seqcast_claim claim;
    check(seqcast_seat_claim(poster, "key", 3, 1000000000ull, &claim, NULL, NULL));
    check(seqcast_seat_release(poster, &claim));
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void measure(const char *name, void (*call)(void)) {
    double least = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        const seqcast_delivery *delivery;
        while (seqcast_seat_next(seat, 0, &delivery) > 0)
            ;
        double begin = now();
        for (int i = 0; i < CALLS; i++)
            call();
        double took = (now() - begin) / CALLS;
        least = took < least ? took : least;
    }
    printf("%-32s %8.1f ns\n", name, least);
}

int main(void) {
    seqcast_seat_options options = {0};
    options.size = sizeof options;
    options.silent = 1;
    check(seqcast_bus_anonymous(NULL, &bus));
    check(seqcast_bus_subscribe(bus, &options, &seat));
    check(seqcast_bus_publisher(bus, NULL, &poster));
    measure("next, nothing new", next);
    measure("post of 64 B", post);
    measure("post of 64 B, and take it", post_and_take);
    measure("unique post, and take it", post_unique_and_take);
    measure("claim and release", claim_and_release);
    check(seqcast_seat_free(seat));
    check(seqcast_seat_free(poster));
    check(seqcast_bus_free(bus));
    return 0;
}
