/* Mistakes of callers give errors and never crash. */
#include "check.h"

#define CHECK_NULL(call) CHECK_IS(call, SEQCAST_E_NULL)
#define CHECK_HANDLE(call) CHECK_IS(call, SEQCAST_E_HANDLE)

/* Calls everything that takes a bus, and expects `error`. */
static void bus_calls_give(seqcast_bus *bus, int error) {
    uint64_t number;
    char text[64];
    seqcast_seat *seat;
    seqcast_stats *stats;
    CHECK_IS(seqcast_bus_name(bus, text, sizeof text), error);
    CHECK_IS(seqcast_bus_id(bus, text, sizeof text), error);
    CHECK_IS(seqcast_bus_differences(bus, text, sizeof text), error);
    CHECK_IS(seqcast_bus_was_created(bus), error);
    CHECK_IS(seqcast_bus_is_current(bus), error);
    CHECK_IS(seqcast_bus_next_id(bus, &number), error);
    CHECK_IS(seqcast_bus_capacity(bus, &number), error);
    CHECK_IS(seqcast_bus_largest_event(bus, &number), error);
    CHECK_IS(seqcast_bus_unlink(bus), error);
    CHECK_IS(seqcast_bus_unlink_if_last(bus), error);
    CHECK_IS(seqcast_bus_subscribe(bus, NULL, &seat), error);
    CHECK_IS(seqcast_bus_publisher(bus, NULL, &seat), error);
    CHECK_IS(seqcast_bus_stats(bus, &stats), error);
    CHECK_IS(seqcast_bus_held(bus, "k", 1, NULL), error);
    CHECK_IS(seqcast_bus_key_hash(bus, "k", 1, text, sizeof text), error);
    CHECK_IS(seqcast_bus_origin(bus, &number), error);
    CHECK(seat == NULL && stats == NULL);
}

/* Calls everything that takes a seat, and expects `error`. */
static void seat_calls_give(seqcast_seat *seat, int error) {
    const seqcast_delivery *delivery = NULL;
    uint64_t number;
    char text[64];
    seqcast_claim claim = {{0}};
    seqcast_topic topic = {"s", 1, "e", 1};
    seqcast_text source = {"s", 1};
    CHECK_IS(seqcast_seat_leave(seat), error);
    CHECK_IS(seqcast_seat_number(seat), error);
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), error);
    CHECK_IS(seqcast_seat_next(seat, HOUR, &delivery), error);
    CHECK_IS(seqcast_seat_next_before(seat, UINT64_MAX, &delivery), error);
    CHECK(delivery == NULL);
    CHECK_IS(seqcast_seat_wait(seat, HOUR), error);
    CHECK_IS(seqcast_seat_set_wait_max(seat, HOUR), error);
    CHECK_IS(seqcast_seat_only(seat, &topic, 1), error);
    CHECK_IS(seqcast_seat_only_sources(seat, &source, 1), error);
    CHECK_IS(seqcast_seat_cursor(seat, &number), error);
    CHECK_IS(seqcast_seat_position(seat, text, sizeof text), error);
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, NULL, NULL), error);
    CHECK_IS(seqcast_seat_try_post(seat, "s", 1, "e", 1, "p", 1, NULL, NULL), error);
    const seqcast_retained *found = NULL;
    seqcast_retained_list *list;
    CHECK_IS(seqcast_seat_get(seat, "s", 1, "e", 1, NULL, 0, &found), error);
    CHECK_IS(seqcast_seat_retained(seat, &list), error);
    CHECK_IS(seqcast_seat_clear(seat, "s", 1, "e", 1, NULL, 0, NULL), error);
    CHECK_IS(seqcast_seat_try_clear(seat, "s", 1, "e", 1, NULL, 0, NULL), error);
    CHECK_IS(seqcast_seat_clear_cluster(seat, "s", 1, "e", 1, NULL, 0, NULL), error);
    CHECK(found == NULL && list == NULL);
    CHECK_IS(seqcast_seat_claim(seat, "k", 1, HOUR, &claim, NULL, NULL), error);
    CHECK_IS(seqcast_seat_claim_for_life(seat, "k", 1, HOUR, &claim, NULL, NULL), error);
    CHECK_IS(seqcast_seat_renew(seat, &claim, HOUR), error);
    CHECK_IS(seqcast_seat_complete(seat, &claim, HOUR), error);
    CHECK_IS(seqcast_seat_claim_left(seat, &claim, &number), error);
    CHECK_IS(seqcast_seat_release(seat, &claim), error);
    CHECK_IS(seqcast_seat_reserve(seat, &number), error);
    CHECK_IS(seqcast_seat_try_reserve(seat, &number), error);
    int fd = -7;
    CHECK_IS(seqcast_seat_bell(seat, NULL, &fd), error);
    CHECK_IS(seqcast_seat_forward(seat, NULL, 1), error);
    CHECK_IS(seqcast_seat_arm(seat), error);
    CHECK_IS(seqcast_seat_bell_kind(seat), error);
    CHECK_IS(seqcast_seat_bell_unheard(seat, text, sizeof text), error);
    CHECK_IS(fd, -7);
    CHECK_IS(seqcast_seat_commit(seat, 0, "s", 1, "e", 1, "p", 1, NULL), error);
    CHECK_IS(seqcast_seat_abandon(seat, 0), error);
}

static void stats_calls_give(const seqcast_stats *stats, int error) {
    uint64_t number;
    const char *name;
    char text[64];
    CHECK_IS(seqcast_stats_rows(stats), error);
    CHECK_IS(seqcast_stats_label(stats, 0, text, sizeof text), error);
    CHECK_IS(seqcast_stats_get(stats, 0, "size", 4, &number), error);
    CHECK_IS(seqcast_stats_at(stats, 0, 0, &name, &number), error);
}

static void list_calls_give(const seqcast_retained_list *list, int error) {
    const seqcast_retained *found = NULL;
    CHECK_IS(seqcast_retained_list_count(list), error);
    CHECK_IS(seqcast_retained_list_at(list, 0, &found), error);
    CHECK(found == NULL);
}

static void claim_list_calls_give(const seqcast_claim_list *list, int error) {
    const seqcast_claim_entry *found = NULL;
    CHECK_IS(seqcast_claim_list_count(list), error);
    CHECK_IS(seqcast_claim_list_at(list, 0, &found), error);
    CHECK(found == NULL);
}

static void inspector_calls_give(const seqcast_inspector *inspector, int error) {
    seqcast_stats *stats;
    seqcast_tail *tail;
    CHECK_IS(seqcast_inspector_stats(inspector, &stats), error);
    CHECK_IS(seqcast_inspector_is_current(inspector), error);
    CHECK_IS(seqcast_inspector_tail(inspector, NULL, &tail), error);
    seqcast_retained_list *list;
    CHECK_IS(seqcast_inspector_retained(inspector, &list), error);
    seqcast_claim_list *claims;
    CHECK_IS(seqcast_inspector_claims(inspector, &claims), error);
    CHECK(list == NULL && claims == NULL);
}

static void tail_calls_give(seqcast_tail *tail, int error) {
    const seqcast_seen *seen;
    CHECK_IS(seqcast_tail_next(tail, &seen), error);
}

static void a_null_handle_is_an_error_and_freeing_it_is_none(void) {
    bus_calls_give(NULL, SEQCAST_E_NULL);
    seat_calls_give(NULL, SEQCAST_E_NULL);
    stats_calls_give(NULL, SEQCAST_E_NULL);
    list_calls_give(NULL, SEQCAST_E_NULL);
    claim_list_calls_give(NULL, SEQCAST_E_NULL);
    inspector_calls_give(NULL, SEQCAST_E_NULL);
    tail_calls_give(NULL, SEQCAST_E_NULL);
    CHECK_IS(seqcast_bus_free(NULL), 0);
    CHECK_IS(seqcast_seat_free(NULL), 0);
    CHECK_IS(seqcast_stats_free(NULL), 0);
    CHECK_IS(seqcast_retained_list_free(NULL), 0);
    CHECK_IS(seqcast_claim_list_free(NULL), 0);
    CHECK_IS(seqcast_inspector_free(NULL), 0);
    CHECK_IS(seqcast_tail_free(NULL), 0);
}

static void a_null_argument_is_an_error(const char *name) {
    seqcast_bus *bus = small_bus(), *none;
    seqcast_seat *seat = subscribe(bus);
    seqcast_stats *stats;
    seqcast_inspector *inspector;
    seqcast_claim claim;
    uint64_t number;
    CHECK_IS(seqcast_bus_stats(bus, &stats), 0);

    CHECK_NULL(seqcast_bus_create(TEXT(name), NULL, NULL));
    CHECK_NULL(seqcast_bus_create(NULL, 3, NULL, &none));
    CHECK_NULL(seqcast_bus_open(TEXT(name), NULL, NULL));
    CHECK_NULL(seqcast_bus_open(NULL, 3, NULL, &none));
    CHECK_NULL(seqcast_bus_open_or_create(TEXT(name), NULL, NULL));
    CHECK_NULL(seqcast_bus_open_or_create(NULL, 3, NULL, &none));
    CHECK_NULL(seqcast_bus_anonymous(NULL, NULL));
    CHECK_NULL(seqcast_bus_name(bus, NULL, 10));
    CHECK_NULL(seqcast_bus_id(bus, NULL, 10));
    CHECK_NULL(seqcast_bus_differences(bus, NULL, 10));
    CHECK_NULL(seqcast_bus_next_id(bus, NULL));
    CHECK_NULL(seqcast_bus_capacity(bus, NULL));
    CHECK_NULL(seqcast_bus_largest_event(bus, NULL));
    CHECK_NULL(seqcast_bus_origin(bus, NULL));
    CHECK_NULL(seqcast_bus_key_hash(bus, NULL, 1, NULL, 0));
    CHECK_NULL(seqcast_bus_key_hash(bus, "k", 1, NULL, 10));
    CHECK_NULL(seqcast_error_full(NULL));
    CHECK_NULL(seqcast_bus_subscribe(bus, NULL, NULL));
    CHECK_NULL(seqcast_bus_publisher(bus, NULL, NULL));
    CHECK_NULL(seqcast_bus_stats(bus, NULL));
    CHECK_NULL(seqcast_unlink(NULL, 3));
    CHECK_NULL(seqcast_unlink_unheld(NULL, 3));
    CHECK_NULL(seqcast_seat_next(seat, 0, NULL));
    CHECK_NULL(seqcast_seat_next_before(seat, 0, NULL));
    CHECK_NULL(seqcast_seat_only(seat, NULL, 1));
    CHECK_NULL(seqcast_seat_only_sources(seat, NULL, 1));
    CHECK_NULL(seqcast_seat_cursor(seat, NULL));
    CHECK_NULL(seqcast_seat_position(seat, NULL, 10));
    CHECK_NULL(seqcast_seat_post(seat, NULL, 1, "e", 1, NULL, 0, NULL, NULL));
    CHECK_MESSAGE("source is null");
    CHECK_NULL(seqcast_seat_post(seat, "s", 1, NULL, 1, NULL, 0, NULL, NULL));
    CHECK_MESSAGE("event is null");
    CHECK_NULL(seqcast_seat_post(seat, "s", 1, "e", 1, NULL, 1, NULL, NULL));
    CHECK_MESSAGE("payload is null");
    CHECK_NULL(seqcast_seat_try_post(seat, NULL, 1, "e", 1, NULL, 0, NULL, NULL));
    CHECK_NULL(seqcast_seat_try_post(seat, "s", 1, NULL, 1, NULL, 0, NULL, NULL));
    CHECK_NULL(seqcast_seat_try_post(seat, "s", 1, "e", 1, NULL, 1, NULL, NULL));
    const seqcast_retained *found;
    CHECK_NULL(seqcast_seat_get(seat, "s", 1, "e", 1, NULL, 0, NULL));
    CHECK_NULL(seqcast_seat_get(seat, NULL, 1, "e", 1, NULL, 0, &found));
    CHECK_NULL(seqcast_seat_get(seat, "s", 1, NULL, 1, NULL, 0, &found));
    CHECK_NULL(seqcast_seat_get(seat, "s", 1, "e", 1, NULL, 1, &found));
    CHECK_MESSAGE("key is null");
    CHECK_NULL(seqcast_seat_clear(seat, NULL, 1, "e", 1, NULL, 0, NULL));
    CHECK_NULL(seqcast_seat_clear(seat, "s", 1, NULL, 1, NULL, 0, NULL));
    CHECK_NULL(seqcast_seat_clear(seat, "s", 1, "e", 1, NULL, 1, NULL));
    CHECK_NULL(seqcast_seat_try_clear(seat, "s", 1, "e", 1, NULL, 1, NULL));
    CHECK_NULL(seqcast_seat_clear_cluster(seat, "s", 1, "e", 1, NULL, 1, NULL));
    CHECK_NULL(seqcast_seat_retained(seat, NULL));
    seqcast_retained_list *list;
    CHECK_IS(seqcast_seat_retained(seat, &list), 0);
    CHECK_NULL(seqcast_retained_list_at(list, 0, NULL));
    CHECK_IS(seqcast_retained_list_free(list), 0);
    CHECK_NULL(seqcast_seat_claim(seat, "k", 1, HOUR, NULL, NULL, NULL));
    CHECK_NULL(seqcast_seat_claim(seat, NULL, 1, HOUR, &claim, NULL, NULL));
    CHECK_NULL(seqcast_seat_claim_for_life(seat, "k", 1, HOUR, NULL, NULL, NULL));
    CHECK_NULL(seqcast_seat_claim_for_life(seat, NULL, 1, HOUR, &claim, NULL, NULL));
    CHECK_NULL(seqcast_seat_renew(seat, NULL, HOUR));
    CHECK_NULL(seqcast_seat_complete(seat, NULL, HOUR));
    CHECK_NULL(seqcast_seat_claim_left(seat, NULL, NULL));
    CHECK_NULL(seqcast_bus_held(bus, NULL, 1, NULL));
    CHECK_NULL(seqcast_seat_release(seat, NULL));
    CHECK_NULL(seqcast_seat_reserve(seat, NULL));
    CHECK_NULL(seqcast_seat_try_reserve(seat, NULL));
    CHECK_NULL(seqcast_seat_bell(seat, NULL, NULL));
    CHECK_NULL(seqcast_seat_commit(seat, 0, NULL, 1, "e", 1, NULL, 0, NULL));
    CHECK_NULL(seqcast_seat_commit(seat, 0, "s", 1, NULL, 1, NULL, 0, NULL));
    CHECK_NULL(seqcast_seat_commit(seat, 0, "s", 1, "e", 1, NULL, 1, NULL));
    CHECK_NULL(seqcast_stats_label(stats, 0, NULL, 10));
    CHECK_NULL(seqcast_stats_get(stats, 0, "size", 4, NULL));
    CHECK_NULL(seqcast_stats_get(stats, 0, NULL, 4, &number));
    const char *figure;
    CHECK_NULL(seqcast_stats_at(stats, 0, 0, NULL, &number));
    CHECK_NULL(seqcast_stats_at(stats, 0, 0, &figure, NULL));
    CHECK_NULL(seqcast_inspector_open(TEXT(name), NULL));
    CHECK_NULL(seqcast_inspector_open(NULL, 3, &inspector));
    CHECK_NULL(seqcast_names(NULL, 10));
    CHECK_NULL(seqcast_version(NULL, 10));
    CHECK_NULL(seqcast_error_code(-1, NULL, 10));

    /* Nothing happened. */
    expect_nothing(seat);
    seqcast_stats_free(stats), seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void a_freed_handle_is_an_error_also_if_there_is_a_new_one(const char *name) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *freed = subscribe(bus);
    CHECK_IS(seqcast_seat_free(freed), 0);
    seat_calls_give(freed, SEQCAST_E_HANDLE);
    CHECK_HANDLE(seqcast_seat_free(freed));
    CHECK_MESSAGE("freed before");
    seqcast_seat *seat = subscribe(bus);
    CHECK(seat != freed);
    seat_calls_give(freed, SEQCAST_E_HANDLE);
    post(seat, "the new one works");
    expect_event(seat, "the new one works");

    seqcast_stats *stats;
    CHECK_IS(seqcast_bus_stats(bus, &stats), 0);
    CHECK_IS(seqcast_stats_free(stats), 0);
    stats_calls_give(stats, SEQCAST_E_HANDLE);

    seqcast_retained_list *list;
    CHECK_IS(seqcast_seat_retained(seat, &list), 0);
    CHECK_IS(seqcast_retained_list_free(list), 0);
    list_calls_give(list, SEQCAST_E_HANDLE);

    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.unlink_on_free = 1;
    seqcast_bus *named;
    seqcast_inspector *inspector;
    seqcast_tail *tail;
    CHECK_IS(seqcast_bus_create(TEXT(name), &options, &named), 0);
    CHECK_IS(seqcast_inspector_open(TEXT(name), &inspector), 0);
    CHECK_NULL(seqcast_inspector_retained(inspector, NULL));
    CHECK_NULL(seqcast_inspector_claims(inspector, NULL));
    seqcast_claim_list *claims;
    CHECK_IS(seqcast_inspector_claims(inspector, &claims), 0);
    CHECK_NULL(seqcast_claim_list_at(claims, 0, NULL));
    CHECK_IS(seqcast_claim_list_free(claims), 0);
    claim_list_calls_give(claims, SEQCAST_E_HANDLE);
    CHECK_HANDLE(seqcast_claim_list_free(claims));
    CHECK_IS(seqcast_inspector_tail(inspector, NULL, &tail), 0);
    CHECK_IS(seqcast_inspector_free(inspector), 0);
    inspector_calls_give(inspector, SEQCAST_E_HANDLE);
    const seqcast_seen *seen;
    CHECK_IS(seqcast_tail_next(tail, &seen), 0);
    CHECK_IS(seqcast_tail_free(tail), 0);
    tail_calls_give(tail, SEQCAST_E_HANDLE);
    CHECK_IS(seqcast_bus_free(named), 0);

    /* Seats outlive the handle of their bus. */
    CHECK_IS(seqcast_bus_free(bus), 0);
    bus_calls_give(bus, SEQCAST_E_HANDLE);
    CHECK_HANDLE(seqcast_bus_free(bus));
    post(seat, "still there");
    expect_event(seat, "still there");
    CHECK_IS(seqcast_seat_free(seat), 0);
}

static void what_is_no_handle_is_an_error(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus);
    bus_calls_give((seqcast_bus *)seat, SEQCAST_E_HANDLE);
    CHECK_MESSAGE("handle of the kind seat");
    seat_calls_give((seqcast_seat *)bus, SEQCAST_E_HANDLE);
    int here = 0;
    void *wrong[] = {&here, (void *)-1, (void *)1, (void *)0x1000, (void *)0xdeadbeefdeadbeef};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        seat_calls_give((seqcast_seat *)wrong[i], SEQCAST_E_HANDLE);
        bus_calls_give((seqcast_bus *)wrong[i], SEQCAST_E_HANDLE);
        CHECK_HANDLE(seqcast_seat_free((seqcast_seat *)wrong[i]));
        CHECK_HANDLE(seqcast_bus_free((seqcast_bus *)wrong[i]));
    }
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void a_seat_that_only_posts_says_so(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = publisher(bus);
    const seqcast_delivery *delivery;
    uint64_t number;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), SEQCAST_E_NOT_A_READER);
    CHECK_IS(seqcast_seat_next_before(seat, 1, &delivery), SEQCAST_E_NOT_A_READER);
    CHECK_IS(seqcast_seat_wait(seat, HOUR), SEQCAST_E_NOT_A_READER);
    CHECK_IS(seqcast_seat_set_wait_max(seat, HOUR), SEQCAST_E_NOT_A_READER);
    CHECK_IS(seqcast_seat_cursor(seat, &number), SEQCAST_E_NOT_A_READER);
    CHECK_IS(seqcast_seat_only(seat, NULL, 0), SEQCAST_E_NOT_A_READER);
    int fd;
    CHECK_IS(seqcast_seat_bell(seat, NULL, &fd), SEQCAST_E_NOT_A_READER);
    CHECK_IS(seqcast_seat_forward(seat, NULL, 1), SEQCAST_E_NOT_A_READER);
    CHECK_IS(seqcast_seat_arm(seat), SEQCAST_E_NOT_A_READER);
    post(seat, "x");
    CHECK_IS(seqcast_seat_leave(seat), 0);
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_LEFT);
    expect_nothing(seat);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void bad_texts_and_lengths_are_errors(void) {
    seqcast_bus *bus = small_bus(), *none;
    seqcast_seat *seat = subscribe(bus);
    CHECK_IS(seqcast_seat_post(seat, "s\xff", 2, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_TEXT);
    CHECK_MESSAGE("source is not UTF-8 at byte 1 of 2");
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", SIZE_MAX, NULL, NULL), SEQCAST_E_OPTION);
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", SIZE_MAX / 2 + 1, "p", 1, NULL, NULL), SEQCAST_E_OPTION);
    CHECK_IS(seqcast_bus_open("a b", 3, NULL, &none), SEQCAST_E_NAME);
    CHECK_IS(seqcast_bus_open("\xc3", 1, NULL, &none), SEQCAST_E_TEXT);
    CHECK_IS(seqcast_bus_open("", 0, NULL, &none), SEQCAST_E_NAME);
    CHECK_IS(seqcast_bus_open(NULL, 0, NULL, &none), SEQCAST_E_NAME);
    /* A payload may be any bytes, and a text may hold zeros. */
    CHECK_IS(seqcast_seat_post(seat, "s\0x", 3, "e", 1, "\xff\0\xfe", 3, NULL, NULL), 0);
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
    CHECK(delivery->source_len == 3 && memcmp(delivery->source, "s\0x", 3) == 0);
    CHECK(delivery->payload_len == 3 && memcmp(delivery->payload, "\xff\0\xfe", 3) == 0);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void options_without_their_size_are_errors(void) {
    seqcast_bus_options options = {0};
    seqcast_bus *bus = NULL;
    CHECK_IS(seqcast_bus_anonymous(&options, &bus), SEQCAST_E_SIZE);
    CHECK_MESSAGE("seqcast_bus_options.size is 0");
    options.size = SIZE_MAX;
    CHECK_IS(seqcast_bus_anonymous(&options, &bus), SEQCAST_E_SIZE);
    options.size = sizeof options;
    options.capacity = 7;
    CHECK_IS(seqcast_bus_anonymous(&options, &bus), SEQCAST_E_OPTION);
    CHECK_MESSAGE("capacity = 7");
    options.capacity = 64;
    CHECK_IS(seqcast_bus_anonymous(&options, &bus), 0);

    seqcast_seat_options seat_options = {0};
    seqcast_seat *seat;
    CHECK_IS(seqcast_bus_subscribe(bus, &seat_options, &seat), SEQCAST_E_SIZE);
    seat_options.size = sizeof seat_options;
    seat_options.wait_max_ns = 1;
    CHECK_IS(seqcast_bus_subscribe(bus, &seat_options, &seat), SEQCAST_E_OPTION);
    seat_options.wait_max_ns = 0;
    seat_options.label_len = 1;
    CHECK_IS(seqcast_bus_subscribe(bus, &seat_options, &seat), SEQCAST_E_NULL);
    seat_options.label_len = 0;
    CHECK_IS(seqcast_bus_subscribe(bus, &seat_options, &seat), 0);
    seqcast_post_options post_options = {0};
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, NULL, 0, &post_options, NULL), SEQCAST_E_SIZE);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void when_all_seats_are_taken_it_is_said_who_has_them(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seats[16], *more;
    seqcast_seat_options options = quiet();
    options.label = "web-1";
    options.label_len = 5;
    for (int i = 0; i < 16; i++)
        CHECK_IS(seqcast_bus_publisher(bus, &options, &seats[i]), 0);
    CHECK_IS(seqcast_bus_subscribe(bus, NULL, &more), SEQCAST_E_NO_SEAT);
    CHECK(more == NULL);
    CHECK_MESSAGE("15: pid ");
    CHECK_MESSAGE("web-1");
    CHECK_IS(seqcast_seat_free(seats[3]), 0);
    CHECK_IS(seqcast_bus_subscribe(bus, NULL, &more), 0);
    CHECK_IS(seqcast_seat_number(more), 3);
    seats[3] = more;
    for (int i = 0; i < 16; i++)
        CHECK_IS(seqcast_seat_free(seats[i]), 0);
    seqcast_bus_free(bus);
}

static void a_failed_system_call_has_its_errno(void) {
    CHECK_IS(seqcast_error_errno(), 0);
    char code[32];
    CHECK_IS(seqcast_error_code(SEQCAST_E_HANDLE, code, sizeof code), 6);
    CHECK(strcmp(code, "handle") == 0);
    CHECK_IS(seqcast_error_code(-999, code, sizeof code), 7);
    CHECK(strcmp(code, "unknown") == 0);
    CHECK_IS(seqcast_error_code(0, code, sizeof code), 7);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    a_null_handle_is_an_error_and_freeing_it_is_none();
    a_null_argument_is_an_error(argv[1]);
    a_freed_handle_is_an_error_also_if_there_is_a_new_one(argv[1]);
    what_is_no_handle_is_an_error();
    a_seat_that_only_posts_says_so();
    bad_texts_and_lengths_are_errors();
    options_without_their_size_are_errors();
    when_all_seats_are_taken_it_is_said_who_has_them();
    a_failed_system_call_has_its_errno();
    return 0;
}
