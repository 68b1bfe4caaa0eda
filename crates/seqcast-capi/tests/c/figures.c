/* Figures by name, and inspectors. The argument is the name of a segment. */
#include "check.h"

static uint64_t figure(const seqcast_stats *stats, size_t row, const char *name) {
    uint64_t value = UINT64_MAX;
    CHECK_IS(seqcast_stats_get(stats, row, TEXT(name), &value), 1);
    return value;
}

static void check_figures(const seqcast_stats *stats, const char *name) {
    char text[256];
    const char *figure_name;
    uint64_t value;
    CHECK_IS(seqcast_stats_rows(stats), 3);
    CHECK(seqcast_stats_label(stats, 0, text, sizeof text) > 0);
    CHECK(strcmp(text + 1, name) == 0);
    CHECK_IS(figure(stats, 0, "capacity"), 64);
    CHECK_IS(figure(stats, 0, "next_id"), 2);
    CHECK_IS(seqcast_stats_label(stats, 1, text, sizeof text), 5);
    CHECK(strcmp(text, "web-1") == 0);
    CHECK_IS(figure(stats, 1, "pid"), getpid());
    CHECK_IS(figure(stats, 1, "alive"), 1);
    CHECK_IS(figure(stats, 1, "posted"), 1);
    CHECK_IS(figure(stats, 1, "delivered"), 1);
    CHECK_IS(figure(stats, 1, "cursor"), 1);
    CHECK_IS(figure(stats, 1, "lag"), 1);
    CHECK_IS(figure(stats, 2, "posted"), 1);

    /* A seat that only posts has no cursor, and no row has an unknown figure. */
    CHECK_IS(seqcast_stats_get(stats, 2, TEXT("cursor"), &value), 0);
    CHECK_IS(seqcast_stats_get(stats, 0, TEXT("no such figure"), &value), 0);
    CHECK_IS(seqcast_stats_get(stats, 0, "", 0, &value), 0);
    CHECK_IS(seqcast_stats_get(stats, 3, TEXT("pid"), &value), SEQCAST_E_OPTION);
    CHECK_MESSAGE("less than 3");
    CHECK_IS(seqcast_stats_label(stats, SIZE_MAX, text, sizeof text), SEQCAST_E_OPTION);

    /* All figures by their index. */
    int found = 0;
    size_t count = 0;
    for (; seqcast_stats_at(stats, 1, count, &figure_name, &value) == 1; count++) {
        CHECK_IS(figure(stats, 1, figure_name), value);
        found += strcmp(figure_name, "claims_won") == 0;
    }
    CHECK(count > 20 && found == 1);
    CHECK_IS(seqcast_stats_at(stats, 1, count, &figure_name, &value), 0);
    CHECK_IS(seqcast_stats_at(stats, 1, SIZE_MAX, &figure_name, &value), 0);
}

static void check_tail(const seqcast_inspector *inspector) {
    seqcast_tail_options options = {0};
    options.size = sizeof options;
    options.start = SEQCAST_START_OLDEST;
    seqcast_tail *tail;
    const seqcast_seen *seen;
    CHECK_IS(seqcast_inspector_tail(inspector, &options, &tail), 0);
    CHECK_IS(seqcast_tail_next(tail, &seen), 1);
    CHECK_IS(seen->kind, SEQCAST_SEEN_EVENT);
    CHECK_IS(seen->id, 0);
    CHECK_IS(seen->pid, getpid());
    CHECK_IS(seen->len, 5);
    CHECK(same(seen->source, seen->source_len, "s") && same(seen->event, seen->event_len, "e"));
    CHECK_IS(seen->payload_len, 0);
    CHECK(seen->payload != NULL);
    CHECK_IS(seqcast_tail_next(tail, &seen), 1);
    CHECK_IS(seen->unique, 1);
    CHECK_IS(seen->typed, 1);
    CHECK_IS(seqcast_tail_next(tail, &seen), 0);
    CHECK_IS(seen->kind, SEQCAST_SEEN_NOTHING);
    CHECK(seen->source != NULL && seen->source_len == 0);
    CHECK_IS(seqcast_tail_free(tail), 0);

    options.payloads = 1;
    CHECK_IS(seqcast_inspector_tail(inspector, &options, &tail), 0);
    CHECK_IS(seqcast_tail_next(tail, &seen), 1);
    CHECK(same(seen->payload, seen->payload_len, "first"));
    CHECK_IS(seqcast_tail_free(tail), 0);
    options.start = SEQCAST_START_AT;
    options.start_id = 3;
    CHECK_IS(seqcast_inspector_tail(inspector, &options, &tail), SEQCAST_E_NOT_YET);
}

/* A payload in a large block, on a segment of its own. */
static void check_large(const char *name) {
    static char payload[2000];
    char large_name[256];
    snprintf(large_name, sizeof large_name, "%s-large", name);
    memset(payload, 'x', sizeof payload);
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.capacity = 64;
    options.unlink_on_free = 1;
    options.large_blocks = 4;
    seqcast_bus *bus;
    CHECK_IS(seqcast_bus_create(TEXT(large_name), &options, &bus), SEQCAST_E_OPTION);
    CHECK_MESSAGE("large");
    options.large_size = sizeof payload;
    CHECK_IS(seqcast_bus_create(TEXT(large_name), &options, &bus), 0);
    seqcast_seat *poster = publisher(bus);
    CHECK_IS(seqcast_seat_post(poster, "s", 1, "e", 1, payload, sizeof payload, NULL, NULL), 0);
    seqcast_stats *stats;
    CHECK_IS(seqcast_bus_stats(bus, &stats), 0);
    CHECK_IS(figure(stats, 0, "large_blocks"), 4);
    CHECK_IS(figure(stats, 1, "large"), 1);
    CHECK_IS(seqcast_stats_free(stats), 0);
    seqcast_inspector *inspector;
    CHECK_IS(seqcast_inspector_open(TEXT(large_name), &inspector), 0);
    seqcast_tail_options tail_options = {0};
    tail_options.size = sizeof tail_options;
    tail_options.start = SEQCAST_START_OLDEST;
    tail_options.payloads = 1;
    seqcast_tail *tail;
    const seqcast_seen *seen;
    CHECK_IS(seqcast_inspector_tail(inspector, &tail_options, &tail), 0);
    CHECK_IS(seqcast_tail_next(tail, &seen), 1);
    CHECK(seen->kind == SEQCAST_SEEN_EVENT && seen->large == 1 && seen->fragmented == 0);
    CHECK(seen->payload_len == sizeof payload && memcmp(seen->payload, payload, sizeof payload) == 0);
    CHECK_IS(seqcast_tail_free(tail), 0);
    CHECK_IS(seqcast_inspector_free(inspector), 0);
    CHECK_IS(seqcast_seat_free(poster), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    const char *name = argv[1];
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.capacity = 64;
    options.unlink_on_free = 1;
    seqcast_bus *bus;
    CHECK_IS(seqcast_bus_create(TEXT(name), &options, &bus), 0);
    seqcast_seat_options seat_options = quiet();
    seat_options.label = "web-1";
    seat_options.label_len = 5;
    seqcast_seat *seat, *poster;
    CHECK_IS(seqcast_bus_subscribe(bus, &seat_options, &seat), 0);
    poster = publisher(bus);
    post(seat, "first");
    seqcast_post_options post_options = {0};
    post_options.size = sizeof post_options;
    post_options.key = "k";
    post_options.key_len = 1;
    post_options.type_tag = 7;
    CHECK_IS(seqcast_seat_post(poster, "s", 1, "e", 1, "second", 6, &post_options, NULL), 0);
    expect_event(seat, "first");

    seqcast_stats *stats;
    CHECK_IS(seqcast_bus_stats(bus, &stats), 0);
    check_figures(stats, name);
    CHECK_IS(seqcast_stats_free(stats), 0);

    seqcast_inspector *inspector;
    CHECK_IS(seqcast_inspector_open(TEXT(name), &inspector), 0);
    CHECK_IS(seqcast_inspector_stats(inspector, &stats), 0);
    check_figures(stats, name);
    CHECK_IS(seqcast_stats_free(stats), 0);
    check_tail(inspector);
    CHECK_IS(seqcast_inspector_is_current(inspector), 1);

    int len = seqcast_names(NULL, 0);
    CHECK(len > 0);
    size_t capacity = (size_t)len + 65536;
    char *names = malloc(capacity);
    CHECK(names != NULL && seqcast_names(names, capacity) > 0);
    int found = 0;
    for (char *line = strtok(names, "\n"); line != NULL; line = strtok(NULL, "\n"))
        found += line[0] == '/' && strcmp(line + 1, name) == 0;
    CHECK_IS(found, 1);
    free(names);

    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(seqcast_seat_free(poster), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
    CHECK_IS(seqcast_inspector_is_current(inspector), 0);
    CHECK_IS(seqcast_inspector_free(inspector), 0);
    CHECK_IS(seqcast_inspector_open(TEXT(name), &inspector), SEQCAST_E_NOT_FOUND);
    check_large(name);
    return 0;
}
