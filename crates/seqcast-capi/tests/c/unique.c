/* Unique events and claims. */
#include "check.h"

static void post_unique(seqcast_seat *seat, const char *key, uint64_t ttl_ns) {
    seqcast_post_options options = {0};
    options.size = sizeof options;
    options.key = key;
    options.key_len = strlen(key);
    options.ttl_ns = ttl_ns;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "job", 3, &options, NULL), 0);
}

static void one_seat_runs_a_unique_event_and_none_the_next_while_the_key_is_held(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *one = subscribe(bus), *other = subscribe(bus), *poster = publisher(bus);
    post_unique(poster, "nightly", HOUR);
    const seqcast_delivery *delivery = expect_event(one, "job");
    CHECK_IS(delivery->unique, 1);
    seqcast_claim claim = delivery->claim;
    expect_nothing(other);

    post_unique(poster, "nightly", HOUR);
    expect_nothing(one);
    expect_nothing(other);

    CHECK_IS(seqcast_seat_release(one, &claim), 1);
    CHECK_IS(seqcast_seat_release(one, &claim), 0);
    post_unique(poster, "nightly", HOUR);
    CHECK_IS(expect_event(other, "job")->unique, 1);
    expect_nothing(one);

    seqcast_post_options empty = {0};
    empty.size = sizeof empty;
    empty.key = "";
    CHECK_IS(seqcast_seat_post(poster, "s", 1, "e", 1, NULL, 0, &empty, NULL), SEQCAST_E_OPTION);
    CHECK_MESSAGE("key");
    seqcast_seat_free(one), seqcast_seat_free(other), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_claim_is_one_seats_until_it_is_released(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *one = subscribe(bus), *other = publisher(bus);
    seqcast_claim claim, none;
    uint64_t left = 0;
    uint32_t holder = UINT32_MAX;
    CHECK_IS(seqcast_seat_claim(one, "key", 3, HOUR, &claim, &left, &holder), SEQCAST_CLAIM_WON);
    CHECK_IS(left, 0);
    CHECK_IS(seqcast_seat_claim(other, "key", 3, HOUR, &none, &left, &holder), SEQCAST_CLAIM_HELD);
    CHECK(left > HOUR / 2 && left <= HOUR + 10 * MS);
    CHECK_IS(holder, seqcast_seat_number(one));
    CHECK_IS(seqcast_seat_claim(other, "key", 3, HOUR, &none, NULL, NULL), SEQCAST_CLAIM_HELD);
    /* A claim is plain data: any seat of the bus may release it. */
    seqcast_claim copy = claim;
    CHECK_IS(seqcast_seat_release(other, &copy), 1);
    CHECK_IS(seqcast_seat_release(one, &claim), 0);
    CHECK_IS(seqcast_seat_claim(other, "key", 3, HOUR, &claim, NULL, NULL), SEQCAST_CLAIM_WON);

    /* Bytes that are not a claim, and a claim of another bus. */
    memset(&none, 0xa5, sizeof none);
    CHECK_IS(seqcast_seat_release(one, &none), 0);
    seqcast_bus *elsewhere = small_bus();
    seqcast_seat *stranger = publisher(elsewhere);
    CHECK_IS(seqcast_seat_release(stranger, &claim), 0);
    CHECK_IS(seqcast_seat_claim(one, "", 0, HOUR, &none, NULL, NULL), SEQCAST_E_OPTION);
    CHECK_IS(seqcast_seat_claim(one, "k", 1, 0, &none, NULL, NULL), SEQCAST_E_OPTION);
    seqcast_seat_free(stranger), seqcast_bus_free(elsewhere);
    seqcast_seat_free(one), seqcast_seat_free(other), seqcast_bus_free(bus);
}

static void a_claim_for_life_ends_with_its_seat(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *one = subscribe(bus), *other = publisher(bus);
    seqcast_claim claim, taken;
    seqcast_held held;
    uint64_t left = 0;
    CHECK_IS(seqcast_bus_held(bus, "key", 3, &held), 0);
    CHECK_IS(seqcast_seat_claim_for_life(one, "key", 3, HOUR, &claim, NULL, NULL), SEQCAST_CLAIM_WON);
    CHECK_IS(seqcast_seat_claim_for_life(other, "key", 3, HOUR, &taken, &left, NULL), SEQCAST_CLAIM_HELD);
    CHECK(left > HOUR / 2);
    CHECK_IS(seqcast_bus_held(bus, "key", 3, NULL), 1);
    CHECK_IS(seqcast_bus_held(bus, "key", 3, &held), 1);
    CHECK(held.left_ns > HOUR / 2 && held.left_ns <= HOUR && held.since_ns < HOUR);
    CHECK_IS(held.seat, seqcast_seat_number(one));
    CHECK_IS(held.pid, getpid());
    CHECK_IS(held.winner, SEQCAST_WINNER_ALIVE);
    CHECK_IS(held.ends_with_holder, 1);

    CHECK_IS(seqcast_seat_renew(one, &claim, 3 * HOUR), 0);
    CHECK_IS(seqcast_seat_claim_left(other, &claim, &left), 1);
    CHECK(left > 2 * HOUR);
    CHECK_IS(seqcast_seat_claim_left(other, &claim, NULL), 1);
    CHECK_IS(seqcast_seat_free(one), 0);
    CHECK_IS(seqcast_seat_claim_left(other, &claim, &left), 0);
    CHECK_IS(left, 0);
    CHECK_IS(seqcast_seat_renew(other, &claim, HOUR), SEQCAST_E_CLAIM_LOST);
    CHECK_IS(seqcast_seat_claim_for_life(other, "key", 3, HOUR, &taken, NULL, NULL), SEQCAST_CLAIM_WON);

    /* What is done outlives its seat. */
    CHECK_IS(seqcast_seat_complete(other, &taken, HOUR), 0);
    CHECK_IS(seqcast_seat_free(other), 0);
    CHECK_IS(seqcast_bus_held(bus, "key", 3, &held), 1);
    CHECK_IS(held.winner, SEQCAST_WINNER_GONE);
    CHECK_IS(held.ends_with_holder, 0);
    CHECK_IS(held.pid, 0);
    CHECK_IS(held.label[0], 0);

    one = publisher(bus);
    CHECK_IS(seqcast_seat_renew(one, &claim, HOUR), SEQCAST_E_CLAIM_LOST);
    CHECK_MESSAGE("seat");
    CHECK_IS(seqcast_seat_renew(one, &taken, 0), SEQCAST_E_OPTION);
    CHECK_IS(seqcast_seat_renew(one, NULL, HOUR), SEQCAST_E_NULL);
    CHECK_IS(seqcast_seat_complete(one, NULL, HOUR), SEQCAST_E_NULL);
    CHECK_IS(seqcast_seat_claim_left(one, NULL, &left), SEQCAST_E_NULL);
    CHECK_IS(seqcast_bus_held(bus, "", 0, &held), SEQCAST_E_OPTION);
    CHECK_IS(seqcast_bus_held(NULL, "k", 1, &held), SEQCAST_E_NULL);
    CHECK_IS(seqcast_seat_claim_for_life(one, "k", 1, HOUR, NULL, NULL, NULL), SEQCAST_E_NULL);
    seqcast_seat_free(one), seqcast_bus_free(bus);
}

static void full_claims_are_said(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = publisher(bus);
    int result = SEQCAST_CLAIM_WON;
    char key[32];
    for (int i = 0; i < 100000 && result == SEQCAST_CLAIM_WON; i++) {
        seqcast_claim claim;
        int len = snprintf(key, sizeof key, "key-%d", i);
        result = seqcast_seat_claim(seat, key, (size_t)len, HOUR, &claim, NULL, NULL);
    }
    CHECK_IS(result, SEQCAST_CLAIM_FULL);

    /* No seat runs a unique event with such a key, and the reader is told. */
    seqcast_seat *reader = subscribe(bus);
    const seqcast_delivery *delivery;
    int undecided = 0;
    for (int i = 0; i < 1000 && undecided == 0; i++) {
        snprintf(key, sizeof key, "event-%d", i);
        post_unique(seat, key, HOUR);
        CHECK_IS(seqcast_seat_next(reader, 0, &delivery), 1);
        undecided += delivery->kind == SEQCAST_UNDECIDED;
    }
    CHECK_IS(undecided, 1);
    CHECK_IS(delivery->reason, SEQCAST_REASON_CLAIMS_FULL);
    seqcast_seat_free(seat), seqcast_seat_free(reader), seqcast_bus_free(bus);
}

int main(void) {
    one_seat_runs_a_unique_event_and_none_the_next_while_the_key_is_held();
    a_claim_is_one_seats_until_it_is_released();
    a_claim_for_life_ends_with_its_seat();
    full_claims_are_said();
    return 0;
}
