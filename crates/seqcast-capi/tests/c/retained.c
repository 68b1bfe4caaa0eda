/* Retained events: post, look up, list, clear, join and catch up. */
#include "check.h"

/* A segment without a name that has room for `keys` retained events of `size` bytes. */
static seqcast_bus *bus_with(int64_t keys, uint64_t size) {
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.capacity = 64;
    options.claims = 64;
    options.seats = 16;
    options.retained_keys = keys;
    options.retained_size = size;
    seqcast_bus *bus;
    CHECK_IS(seqcast_bus_anonymous(&options, &bus), 0);
    return bus;
}

static seqcast_post_options retain(const char *key) {
    seqcast_post_options options = {0};
    options.size = sizeof options;
    options.retain = 1;
    options.retain_key = key;
    options.retain_key_len = key == NULL ? 0 : strlen(key);
    return options;
}

/* Posts `payload` as "s", "e", retained under `key`. Returns the id. */
static uint64_t post_retained(seqcast_seat *seat, const char *key, const char *payload) {
    seqcast_post_options options = retain(key);
    uint64_t id = UINT64_MAX;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, TEXT(payload), &options, &id), 0);
    return id;
}

static int get(seqcast_seat *seat, const char *key, const seqcast_retained **found) {
    return seqcast_seat_get(seat, "s", 1, "e", 1, key, key == NULL ? 0 : strlen(key), found);
}

/* `key` must have this payload. */
static const seqcast_retained *expect_retained(seqcast_seat *seat, const char *key, const char *payload) {
    const seqcast_retained *found = NULL;
    CHECK_IS(get(seat, key, &found), 1);
    CHECK(same(found->source, found->source_len, "s"));
    CHECK(same(found->event, found->event_len, "e"));
    CHECK(same(found->key, found->key_len, key == NULL ? "" : key));
    CHECK(same(found->payload, found->payload_len, payload));
    return found;
}

static void expect_none(seqcast_seat *seat, const char *key) {
    seqcast_retained other;
    const seqcast_retained *found = &other;
    CHECK_IS(get(seat, key, &found), 0);
    CHECK(found == NULL);
}

static const seqcast_delivery *expect_kind(seqcast_seat *seat, int32_t kind) {
    const seqcast_delivery *delivery = NULL;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
    CHECK_IS(delivery->kind, kind);
    return delivery;
}

static void the_last_event_of_each_key_is_found(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    expect_none(seat, NULL);
    expect_none(seat, "k");
    post(poster, "not retained");
    expect_none(seat, NULL);
    post_retained(poster, NULL, "topic");
    post_retained(poster, "k", "one");
    uint64_t id = post_retained(poster, "k", "two");

    expect_retained(poster, NULL, "topic");
    const seqcast_retained *found = expect_retained(seat, "k", "two");
    CHECK_IS(found->id, id);
    CHECK_IS(found->pid, getpid());
    CHECK_IS(found->seat, seqcast_seat_number(poster));
    CHECK_IS(found->type_tag, 0);
    CHECK(found->left_ns == UINT64_MAX);
    /* Posts, deliveries and failed look-ups do not change it. */
    post_retained(seat, "k", "three");
    expect_event(seat, "not retained");
    CHECK_IS(seqcast_seat_get(seat, "s", 1, "e", 1, NULL, 1, &found), SEQCAST_E_NULL);
    CHECK(same(found->payload, found->payload_len, "two") && found->id == id);
    expect_retained(seat, "k", "three");
    expect_none(seat, "other");

    /* A delivery names the key. */
    const seqcast_delivery *delivery = expect_event(seat, "topic");
    CHECK(delivery->retained == 1 && delivery->retained_key_len == 0 && delivery->retained_key != NULL);
    delivery = expect_event(seat, "one");
    CHECK(delivery->retained == 1 && same(delivery->retained_key, delivery->retained_key_len, "k"));
    CHECK_IS(delivery->handed_over, 0);
    CHECK_IS(delivery->unique, 0);
    expect_event(seat, "two"), expect_event(seat, "three");
    post(poster, "plain");
    delivery = expect_event(seat, "plain");
    CHECK(delivery->retained == 0 && delivery->retained_key_len == 0 && delivery->retained_key != NULL);

    /* A tag, a ttl, a key of any bytes, and no payload. */
    seqcast_post_options options = retain(NULL);
    options.retain_key = "\0\377", options.retain_key_len = 2;
    options.type_tag = 0xfeedfacecafe;
    options.ttl_ns = HOUR;
    CHECK_IS(seqcast_seat_post(poster, "s", 1, "e", 1, NULL, 0, &options, NULL), 0);
    CHECK_IS(seqcast_seat_get(seat, "s", 1, "e", 1, "\0\377", 2, &found), 1);
    CHECK(found->key_len == 2 && memcmp(found->key, "\0\377", 2) == 0);
    CHECK(found->type_tag == 0xfeedfacecafe && found->payload_len == 0 && found->payload != NULL);
    CHECK(found->left_ns <= HOUR && found->left_ns > HOUR / 2);

    /* An event whose ttl has ended is not found. */
    options = retain("short");
    options.ttl_ns = 1;
    CHECK_IS(seqcast_seat_post(poster, "s", 1, "e", 1, "p", 1, &options, NULL), 0);
    expect_none(seat, "short");

    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_clear_removes_it_and_is_delivered(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    post_retained(poster, "k", "value");
    post_retained(poster, NULL, "topic");
    uint64_t id = UINT64_MAX, next;
    CHECK_IS(seqcast_seat_clear(poster, "s", 1, "e", 1, "other", 5, &id), 0);
    CHECK(id == UINT64_MAX);
    CHECK_IS(seqcast_seat_clear(poster, "s", 1, "e", 1, "k", 1, &id), 1);
    CHECK_IS(seqcast_bus_next_id(bus, &next), 0);
    CHECK_IS(id, next - 1);
    expect_none(seat, "k");
    expect_retained(seat, NULL, "topic");
    CHECK_IS(seqcast_seat_clear(poster, "s", 1, "e", 1, "k", 1, NULL), 0);
    CHECK_IS(seqcast_seat_clear(poster, "s", 1, "e", 1, NULL, 0, NULL), 1);
    expect_none(seat, NULL);

    expect_event(seat, "value"), expect_event(seat, "topic");
    const seqcast_delivery *delivery = expect_kind(seat, SEQCAST_CLEARED);
    CHECK_IS(delivery->id, id);
    CHECK(same(delivery->source, delivery->source_len, "s") && same(delivery->event, delivery->event_len, "e"));
    CHECK(same(delivery->retained_key, delivery->retained_key_len, "k"));
    CHECK(delivery->payload_len == 0 && delivery->retained == 1 && delivery->own == 1);
    CHECK_IS(expect_kind(seat, SEQCAST_CLEARED)->retained_key_len, 0);
    expect_nothing(seat);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_list_has_every_key_in_order(const char *name) {
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.unlink_on_free = 1;
    seqcast_bus *bus;
    CHECK_IS(seqcast_bus_create(TEXT(name), &options, &bus), 0);
    seqcast_seat *seat = publisher(bus);
    seqcast_retained_list *list;
    const seqcast_retained *found = NULL;
    CHECK_IS(seqcast_seat_retained(seat, &list), 0);
    CHECK_IS(seqcast_retained_list_count(list), 0);
    CHECK_IS(seqcast_retained_list_at(list, 0, &found), 0);
    CHECK(found == NULL);
    CHECK_IS(seqcast_retained_list_free(list), 0);

    post_retained(seat, "a", "1");
    post_retained(seat, "b", "2");
    post_retained(seat, "a", "3");
    post_retained(seat, "c", "4");
    CHECK_IS(seqcast_seat_clear(seat, "s", 1, "e", 1, "c", 1, NULL), 1);
    CHECK_IS(seqcast_seat_retained(seat, &list), 0);
    seqcast_inspector *inspector;
    seqcast_retained_list *inspected;
    CHECK_IS(seqcast_inspector_open(TEXT(name), &inspector), 0);
    CHECK_IS(seqcast_inspector_retained(inspector, &inspected), 0);
    /* What comes later is not in the lists, and they outlive their seat. */
    post_retained(seat, "b", "5");
    seqcast_seat_free(seat), seqcast_inspector_free(inspector), seqcast_bus_free(bus);
    const char *keys[] = {"b", "a"}, *payloads[] = {"2", "3"};
    seqcast_retained_list *lists[] = {list, inspected};
    for (int each = 0; each < 2; each++) {
        CHECK_IS(seqcast_retained_list_count(lists[each]), 2);
        for (size_t i = 0; i < 2; i++) {
            CHECK_IS(seqcast_retained_list_at(lists[each], i, &found), 1);
            CHECK(same(found->key, found->key_len, keys[i]));
            CHECK(same(found->payload, found->payload_len, payloads[i]));
        }
        CHECK_IS(seqcast_retained_list_at(lists[each], 2, &found), 0);
        CHECK_IS(seqcast_retained_list_at(lists[each], SIZE_MAX, &found), 0);
        CHECK_IS(seqcast_retained_list_free(lists[each]), 0);
    }
}

static void a_seat_that_joins_late_gets_what_is_retained_first(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *poster = publisher(bus);
    post_retained(poster, "a", "1");
    post(poster, "not retained");
    post_retained(poster, "b", "2");
    uint64_t id = post_retained(poster, "a", "3"), end;
    seqcast_seat_options options = quiet();
    options.start = SEQCAST_START_RETAINED;
    seqcast_seat *late, *bounded;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &late), 0);
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &bounded), 0);
    CHECK_IS(seqcast_bus_next_id(bus, &end), 0);
    post(poster, "live");

    const seqcast_delivery *delivery = expect_event(late, "2");
    CHECK(delivery->handed_over == 1 && same(delivery->retained_key, delivery->retained_key_len, "b"));
    delivery = expect_event(late, "3");
    CHECK(delivery->handed_over == 1 && delivery->id == id);
    CHECK_IS(expect_kind(late, SEQCAST_UP_TO_DATE)->id, end);
    CHECK_IS(expect_event(late, "live")->handed_over, 0);
    expect_nothing(late);

    /* A bounded loop gets the same, and not the live event. */
    int32_t kinds[] = {SEQCAST_EVENT, SEQCAST_EVENT, SEQCAST_UP_TO_DATE};
    for (int i = 0; i < 3; i++) {
        CHECK_IS(seqcast_seat_next_before(bounded, end, &delivery), 1);
        CHECK_IS(delivery->kind, kinds[i]);
    }
    CHECK_IS(seqcast_seat_next_before(bounded, end, &delivery), 0);
    expect_event(bounded, "live");
    seqcast_seat_free(late), seqcast_seat_free(bounded), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_seat_that_was_lapped_is_brought_up_to_date(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat_options options = quiet();
    options.resync = 1;
    seqcast_seat *seat, *poster = publisher(bus), *without = subscribe(bus);
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    post_retained(poster, "gone", "0");
    expect_event(seat, "0");
    post_retained(poster, "kept", "1");
    CHECK_IS(seqcast_seat_clear(poster, "s", 1, "e", 1, "gone", 4, NULL), 1);
    for (int i = 0; i < 200; i++)
        post(poster, "filler");

    CHECK(expect_kind(seat, SEQCAST_LAGGED)->missed > 0);
    CHECK_IS(expect_event(seat, "1")->handed_over, 1);
    const seqcast_delivery *delivery = expect_kind(seat, SEQCAST_CLEARED);
    CHECK(delivery->handed_over == 1 && same(delivery->retained_key, delivery->retained_key_len, "gone"));
    expect_kind(seat, SEQCAST_UP_TO_DATE);
    CHECK_IS(expect_event(seat, "filler")->handed_over, 0);

    expect_kind(without, SEQCAST_LAGGED);
    expect_event(without, "filler");
    seqcast_seat_free(seat), seqcast_seat_free(without), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_seat_is_told_if_clears_are_forgotten(void) {
    seqcast_bus *bus = bus_with(2, 0);
    seqcast_seat_options options = quiet();
    options.resync = 1;
    seqcast_seat *seat, *poster = publisher(bus);
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    post_retained(poster, "a", "1");
    post_retained(poster, "b", "2");
    expect_event(seat, "1"), expect_event(seat, "2");
    CHECK_IS(seqcast_seat_clear(poster, "s", 1, "e", 1, "a", 1, NULL), 1);
    /* Takes the place in which the clear was kept. */
    post_retained(poster, "c", "3");
    for (int i = 0; i < 200; i++)
        post(poster, "filler");

    expect_kind(seat, SEQCAST_LAGGED);
    uint64_t id = expect_kind(seat, SEQCAST_RESET)->id;
    CHECK_IS(expect_event(seat, "2")->handed_over, 1);
    CHECK_IS(expect_event(seat, "3")->handed_over, 1);
    CHECK_IS(expect_kind(seat, SEQCAST_UP_TO_DATE)->id, id);
    CHECK_IS(expect_event(seat, "filler")->id, id);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_segment_without_a_table_says_so(void) {
    seqcast_bus *bus = bus_with(-1, 0);
    seqcast_seat *seat = subscribe(bus), *none;
    seqcast_post_options options = retain(NULL);
    const seqcast_retained *found = NULL;
    seqcast_retained_list *list;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, &options, NULL), SEQCAST_E_OPTION);
    CHECK_MESSAGE("retains no events");
    CHECK_IS(get(seat, NULL, &found), SEQCAST_E_OPTION);
    CHECK_IS(seqcast_seat_retained(seat, &list), SEQCAST_E_OPTION);
    CHECK_IS(seqcast_seat_clear(seat, "s", 1, "e", 1, NULL, 0, NULL), SEQCAST_E_OPTION);
    CHECK(found == NULL && list == NULL);
    seqcast_seat_options joins = quiet(), resyncs = quiet();
    joins.start = SEQCAST_START_RETAINED;
    CHECK_IS(seqcast_bus_subscribe(bus, &joins, &none), SEQCAST_E_OPTION);
    resyncs.resync = 1;
    CHECK_IS(seqcast_bus_subscribe(bus, &resyncs, &none), SEQCAST_E_OPTION);
    CHECK(none == NULL);
    expect_nothing(seat);
    post(seat, "plain events work");
    expect_event(seat, "plain events work");
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void a_full_table_and_a_large_value_are_refused_and_change_nothing(void) {
    seqcast_bus *bus = bus_with(2, 128);
    seqcast_seat *seat = subscribe(bus);
    post_retained(seat, "a", "1");
    post_retained(seat, "b", "2");
    seqcast_post_options options = retain("c");
    uint64_t id = 77;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "3", 1, &options, &id), SEQCAST_E_RETAINED_FULL);
    CHECK_IS(id, 77);
    char code[32];
    CHECK_IS(seqcast_error_code(SEQCAST_E_RETAINED_FULL, code, sizeof code), strlen("retained_full"));
    CHECK(strcmp(code, "retained_full") == 0);
    expect_none(seat, "c");

    /* A cleared key gives its place to another. */
    CHECK_IS(seqcast_seat_clear(seat, "s", 1, "e", 1, "a", 1, NULL), 1);
    post_retained(seat, "c", "3");
    expect_retained(seat, "c", "3");

    char large[1024];
    memset(large, 'x', sizeof large);
    options = retain("b");
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, large, sizeof large, &options, &id), SEQCAST_E_PAYLOAD_TOO_LARGE);
    expect_retained(seat, "b", "2");
    /* Events that are not retained may be larger. */
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, large, sizeof large, NULL, NULL), 0);

    expect_event(seat, "1"), expect_event(seat, "2");
    expect_kind(seat, SEQCAST_CLEARED);
    expect_event(seat, "3");
    CHECK_IS(expect_kind(seat, SEQCAST_EVENT)->payload_len, sizeof large);
    expect_nothing(seat);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void bad_arguments_are_errors_and_post_nothing(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus);
    char key[256];
    memset(key, 'k', sizeof key);
    const seqcast_retained *found = NULL;
    seqcast_post_options options = retain(NULL);
    options.retain_key = key, options.retain_key_len = sizeof key;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, &options, NULL), SEQCAST_E_OPTION);
    CHECK_MESSAGE("255");
    CHECK_IS(seqcast_seat_get(seat, "s", 1, "e", 1, key, sizeof key, &found), SEQCAST_E_OPTION);
    CHECK_IS(seqcast_seat_clear(seat, "s", 1, "e", 1, key, sizeof key, NULL), SEQCAST_E_OPTION);
    options.retain_key_len = 255;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, &options, NULL), 0);
    expect_event(seat, "p");

    options = retain("k");
    options.retain = 0;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, &options, NULL), SEQCAST_E_OPTION);
    CHECK_MESSAGE("set retain");
    options = retain(NULL);
    options.retain_key_len = 3;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, &options, NULL), SEQCAST_E_NULL);
    CHECK_MESSAGE("retain_key is null");
    options = retain("k");
    options.key = "unique", options.key_len = 6;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, &options, NULL), SEQCAST_E_OPTION);

    uint64_t id;
    options = retain("k");
    CHECK_IS(seqcast_seat_reserve(seat, &id), 0);
    CHECK_IS(seqcast_seat_commit(seat, id, "s", 1, "e", 1, "p", 1, &options), SEQCAST_E_OPTION);
    CHECK_MESSAGE("reserved id");
    CHECK_IS(seqcast_seat_abandon(seat, id), 1);

    CHECK_IS(seqcast_seat_get(seat, "", 0, "e", 1, NULL, 0, &found), SEQCAST_E_TOPIC);
    CHECK_IS(seqcast_seat_get(seat, "\377", 1, "e", 1, NULL, 0, &found), SEQCAST_E_TEXT);
    CHECK_IS(seqcast_seat_clear(seat, "s", 1, "", 0, NULL, 0, NULL), SEQCAST_E_TOPIC);
    CHECK_IS(seqcast_seat_clear(seat, "seqcast", 7, "e", 1, NULL, 0, NULL), SEQCAST_E_LIBRARY_SOURCE);
    CHECK_IS(seqcast_seat_post(seat, "seqcast", 7, "e", 1, NULL, 0, &options, NULL), SEQCAST_E_LIBRARY_SOURCE);
    CHECK(found == NULL);

    seqcast_bus_options sizes = {0};
    seqcast_bus *none;
    sizes.size = sizeof sizes;
    sizes.retained_keys = 262145;
    CHECK_IS(seqcast_bus_anonymous(&sizes, &none), SEQCAST_E_OPTION);
    sizes.retained_keys = 0, sizes.retained_size = 63;
    CHECK_IS(seqcast_bus_anonymous(&sizes, &none), SEQCAST_E_OPTION);
    CHECK(none == NULL);
    expect_nothing(seat);

    /* What was found stays valid after the seat has left. */
    post_retained(seat, "k", "value");
    found = expect_retained(seat, "k", "value");
    CHECK_IS(seqcast_seat_leave(seat), 0);
    const seqcast_retained *after = NULL;
    CHECK_IS(get(seat, "k", &after), SEQCAST_E_LEFT);
    CHECK(same(found->payload, found->payload_len, "value"));
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

/* Programs that were built before retained events pass smaller structs. */
static void older_structs_are_accepted(void) {
    seqcast_bus_options sizes = {0};
    sizes.size = 80;
    sizes.capacity = 64;
    sizes.retained_keys = -1;
    seqcast_seat_options seats = quiet();
    seats.size = 80;
    seats.resync = 1;
    seqcast_post_options posts = retain("k");
    posts.size = 40;
    posts.type_tag = 7;
    seqcast_bus *bus;
    seqcast_seat *seat;
    CHECK_IS(seqcast_bus_anonymous(&sizes, &bus), 0);
    CHECK_IS(seqcast_bus_subscribe(bus, &seats, &seat), 0);
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, &posts, NULL), 0);
    const seqcast_delivery *delivery = expect_event(seat, "p");
    CHECK(delivery->type_tag == 7 && delivery->retained == 0);
    expect_none(seat, "k");
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    the_last_event_of_each_key_is_found();
    a_clear_removes_it_and_is_delivered();
    a_list_has_every_key_in_order(argv[1]);
    a_seat_that_joins_late_gets_what_is_retained_first();
    a_seat_that_was_lapped_is_brought_up_to_date();
    a_seat_is_told_if_clears_are_forgotten();
    a_segment_without_a_table_says_so();
    a_full_table_and_a_large_value_are_refused_and_change_nothing();
    bad_arguments_are_errors_and_post_nothing();
    older_structs_are_accepted();
    return 0;
}
