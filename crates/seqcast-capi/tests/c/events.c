/* Posting and reading: order, tags, filters, sizes, laps, positions. */
#include "check.h"

static void events_are_read_as_they_were_posted(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *one = subscribe(bus), *other = subscribe(bus), *poster = publisher(bus);
    expect_nothing(one);
    uint64_t first = post(poster, "a"), second = post(one, "");
    CHECK_IS(second, first + 1);

    const seqcast_delivery *delivery = expect_event(one, "a");
    CHECK_IS(delivery->id, first);
    CHECK_IS(delivery->pid, getpid());
    CHECK_IS(delivery->seat, seqcast_seat_number(poster));
    CHECK_IS(delivery->own, 1);
    CHECK_IS(delivery->unique, 0);
    CHECK_IS(delivery->type_tag, 0);
    /* A post by the same seat does not change what was delivered. */
    post(one, "while it is looked at");
    CHECK(same(delivery->payload, delivery->payload_len, "a"));
    delivery = expect_event(one, "");
    CHECK(delivery->payload != NULL && delivery->id == second);
    expect_event(one, "while it is looked at");
    expect_nothing(one);
    expect_event(other, "a");

    /* No id, a tag, and no payload at all. */
    seqcast_post_options options = {0};
    options.size = sizeof options;
    options.type_tag = 0xfeedfacecafe;
    CHECK_IS(seqcast_seat_post(poster, "s", 1, "e", 1, NULL, 0, &options, NULL), 0);
    CHECK_IS(expect_event(one, "")->type_tag, 0xfeedfacecafe);

    CHECK_IS(seqcast_seat_post(poster, "", 0, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_TOPIC);
    CHECK_IS(seqcast_seat_post(poster, "s", 1, NULL, 0, NULL, 0, NULL, NULL), SEQCAST_E_TOPIC);
    CHECK_IS(seqcast_seat_post(poster, "seqcast", 7, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_LIBRARY_SOURCE);
    options.ttl_ns = SECOND;
    CHECK_IS(seqcast_seat_post(poster, "s", 1, "e", 1, NULL, 0, &options, NULL), SEQCAST_E_OPTION);
    CHECK_MESSAGE("ttl");
    expect_nothing(one);

    seqcast_seat_free(one), seqcast_seat_free(other), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void large_payloads_come_whole_and_too_large_ones_are_refused(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus);
    uint64_t largest;
    CHECK_IS(seqcast_bus_largest_event(bus, &largest), 0);
    char *payload = malloc(largest + 1);
    CHECK(payload != NULL);
    for (size_t i = 0; i <= largest; i++)
        payload[i] = (char)(i * 7);
    size_t len = largest - 64;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, payload, len, NULL, NULL), 0);
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
    CHECK(delivery->payload_len == len && memcmp(delivery->payload, payload, len) == 0);
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, payload, largest + 1, NULL, NULL), SEQCAST_E_PAYLOAD_TOO_LARGE);
    expect_nothing(seat);
    free(payload);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void a_lapped_seat_is_told_what_it_missed(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    uint64_t first = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t id = post(poster, "x");
        first = i == 0 ? id : first;
    }
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
    CHECK_IS(delivery->kind, SEQCAST_LAGGED);
    CHECK_IS(delivery->id, first);
    CHECK(delivery->source != NULL && delivery->source_len == 0 && delivery->payload != NULL);
    uint64_t next = first + delivery->missed, events = 0;
    while (seqcast_seat_next(seat, 0, &delivery) > 0) {
        CHECK_IS(delivery->id, next + events);
        events++;
    }
    CHECK_IS(next + events, first + 1000);
    CHECK(events > 0 && events <= 64);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_filter_leaves_the_rest_out(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    seqcast_topic topics[] = {{"a", 1, "x", 1}, {"s", 1, "e", 1}};
    CHECK_IS(seqcast_seat_only(seat, topics, 2), 0);
    CHECK_IS(seqcast_seat_post(poster, "a", 1, "y", 1, NULL, 0, NULL, NULL), 0);
    CHECK_IS(seqcast_seat_post(poster, "b", 1, "x", 1, NULL, 0, NULL, NULL), 0);
    post(poster, "wanted");
    expect_event(seat, "wanted");
    expect_nothing(seat);

    seqcast_topic bad[] = {{"", 0, "x", 1}};
    CHECK_IS(seqcast_seat_only(seat, bad, 1), SEQCAST_E_TOPIC);
    CHECK_IS(seqcast_seat_only(seat, topics, SIZE_MAX / 8), SEQCAST_E_OPTION);
    post(poster, "as before");
    expect_event(seat, "as before");

    seqcast_text sources[] = {{"a", 1}};
    CHECK_IS(seqcast_seat_only_sources(seat, sources, 1), 0);
    post(poster, "not wanted");
    CHECK_IS(seqcast_seat_post(poster, "a", 1, "any", 3, NULL, 0, NULL, NULL), 0);
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
    CHECK(same(delivery->event, delivery->event_len, "any"));

    /* A whole source and a single event of another one, then everything. */
    seqcast_topic mixed[] = {{"a", 1, NULL, 0}, {"s", 1, "e", 1}}, all[] = {{0}};
    CHECK_IS(seqcast_seat_only(seat, mixed, 2), 0);
    CHECK_IS(seqcast_seat_post(poster, "a", 1, "any", 3, NULL, 0, NULL, NULL), 0);
    CHECK_IS(seqcast_seat_post(poster, "s", 1, "not", 3, NULL, 0, NULL, NULL), 0);
    post(poster, "the single one");
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
    CHECK(same(delivery->source, delivery->source_len, "a"));
    expect_event(seat, "the single one");
    CHECK_IS(seqcast_seat_only(seat, all, 1), 0);
    CHECK_IS(seqcast_seat_post(poster, "b", 1, "any", 3, NULL, 0, NULL, NULL), 0);
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), 1);
    CHECK(same(delivery->source, delivery->source_len, "b"));

    CHECK_IS(seqcast_seat_only(seat, NULL, 0), 0);
    post(poster, "nothing is wanted");
    expect_nothing(seat);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_bounded_loop_leaves_what_it_posts_itself(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus);
    post(seat, "1");
    post(seat, "2");
    uint64_t end, count = 0;
    CHECK_IS(seqcast_bus_next_id(bus, &end), 0);
    const seqcast_delivery *delivery;
    while (seqcast_seat_next_before(seat, end, &delivery) > 0) {
        post(seat, "posted by the loop");
        CHECK(++count <= 2);
    }
    CHECK_IS(count, 2);
    CHECK_IS(delivery->kind, SEQCAST_NOTHING);
    expect_event(seat, "posted by the loop");
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void a_seat_goes_on_where_another_was(void) {
    seqcast_bus *bus = small_bus(), *other = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    post(poster, "1");
    post(poster, "2");
    uint64_t id = expect_event(seat, "1")->id, cursor;
    CHECK_IS(seqcast_seat_cursor(seat, &cursor), 0);
    CHECK_IS(cursor, id + 1);
    char position[128];
    int len = seqcast_seat_position(seat, position, sizeof position);
    CHECK(len > 33 && position[32] == ':');
    CHECK_IS(seqcast_seat_free(seat), 0);

    seqcast_seat_options options = quiet();
    options.start = SEQCAST_START_RESUME;
    options.start_position = position;
    options.start_position_len = (size_t)len;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    expect_event(seat, "2");
    expect_nothing(seat);
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(seqcast_bus_subscribe(other, &options, &seat), SEQCAST_E_OTHER_BUS);
    CHECK(seat == NULL);
    options.start_position_len--;
    position[0] = 'x';
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), SEQCAST_E_OPTION);

    options.start = SEQCAST_START_OLDEST;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    expect_event(seat, "1");
    CHECK_IS(seqcast_seat_free(seat), 0);
    options.start = SEQCAST_START_AFTER;
    options.start_id = id;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    expect_event(seat, "2");
    CHECK_IS(seqcast_seat_free(seat), 0);
    options.start = SEQCAST_START_AT;
    options.start_id = 1000;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), SEQCAST_E_NOT_YET);
    options.start = 77;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), SEQCAST_E_OPTION);
    CHECK_MESSAGE("77");
    seqcast_seat_free(poster), seqcast_bus_free(bus), seqcast_bus_free(other);
}

static void joining_and_leaving_are_announced_with_the_label(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *watcher = subscribe(bus), *seat;
    seqcast_seat_options options = {0};
    options.size = sizeof options;
    options.label = "web-1";
    options.label_len = 5;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    CHECK_IS(seqcast_seat_leave(seat), 0);
    const seqcast_delivery *delivery;
    const char *expected[] = {"started", "stopping"};
    for (int i = 0; i < 2; i++) {
        CHECK_IS(seqcast_seat_next(watcher, 0, &delivery), 1);
        CHECK(same(delivery->source, delivery->source_len, "seqcast"));
        CHECK(same(delivery->event, delivery->event_len, expected[i]));
        CHECK(same(delivery->payload, delivery->payload_len, "web-1"));
    }
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_LEFT);
    CHECK_IS(seqcast_seat_wait(seat, HOUR), SEQCAST_E_LEFT);
    CHECK_IS(seqcast_seat_number(seat), SEQCAST_E_LEFT);
    CHECK_IS(seqcast_seat_leave(seat), SEQCAST_E_LEFT);
    expect_nothing(seat);
    CHECK_IS(seqcast_seat_free(seat), 0);
    /* A free without a leave announces it as well. */
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    CHECK_IS(seqcast_seat_free(seat), 0);
    int count = 0;
    while (seqcast_seat_next(watcher, 0, &delivery) > 0)
        count++;
    CHECK_IS(count, 2);
    seqcast_seat_free(watcher), seqcast_bus_free(bus);
}

static void waits_end_with_news_or_their_time(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus);
    const seqcast_delivery *delivery;
    CHECK_IS(seqcast_seat_wait(seat, MS), 0);
    CHECK_IS(seqcast_seat_next(seat, MS, &delivery), 0);
    CHECK_IS(delivery->kind, SEQCAST_NOTHING);
    post(seat, "news");
    CHECK_IS(seqcast_seat_wait(seat, HOUR), 1);
    CHECK_IS(seqcast_seat_wait(seat, UINT64_MAX), 1);
    CHECK_IS(seqcast_seat_next(seat, UINT64_MAX, &delivery), 1);
    CHECK(same(delivery->payload, delivery->payload_len, "news"));
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

int main(void) {
    CHECK_IS(seqcast_abi(), SEQCAST_ABI);
    char version[32];
    CHECK(seqcast_version(version, sizeof version) > 0 && strchr(version, '.') != NULL);
    CHECK(*seqcast_error_message() == '\0');
    events_are_read_as_they_were_posted();
    large_payloads_come_whole_and_too_large_ones_are_refused();
    a_lapped_seat_is_told_what_it_missed();
    a_filter_leaves_the_rest_out();
    a_bounded_loop_leaves_what_it_posts_itself();
    a_seat_goes_on_where_another_was();
    joining_and_leaving_are_announced_with_the_label();
    waits_end_with_news_or_their_time();
    return 0;
}
