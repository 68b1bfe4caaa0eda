/* The listing of claims. The argument is the name of a segment. */
#include <sys/wait.h>

#include "check.h"

/* Returns the entry of a key that is claimed without an event, or null. */
static const seqcast_claim_entry *entry_of(const seqcast_claim_list *list, const seqcast_bus *bus, const char *key) {
    char hash[64];
    CHECK_IS(seqcast_bus_key_hash(bus, TEXT(key), hash, sizeof hash), 32);
    const seqcast_claim_entry *entry;
    for (size_t i = 0; seqcast_claim_list_at(list, i, &entry) > 0; i++)
        if (strcmp(entry->key_hash, hash) == 0)
            return entry;
    return NULL;
}

static seqcast_claim_list *claims(const seqcast_inspector *inspector) {
    seqcast_claim_list *list;
    CHECK_IS(seqcast_inspector_claims(inspector, &list), 0);
    return list;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    const char *name = argv[1];
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.capacity = 64;
    options.claims = 64;
    options.unlink_on_free = 1;
    seqcast_bus *bus;
    CHECK_IS(seqcast_bus_create(TEXT(name), &options, &bus), 0);
    seqcast_inspector *inspector;
    CHECK_IS(seqcast_inspector_open(TEXT(name), &inspector), 0);
    seqcast_claim_list *list = claims(inspector);
    CHECK_IS(seqcast_claim_list_count(list), 0);
    CHECK_IS(seqcast_claim_list_free(list), 0);

    seqcast_seat_options seat_options = quiet();
    seat_options.label = "web-1";
    seat_options.label_len = 5;
    seqcast_seat *seat;
    CHECK_IS(seqcast_bus_subscribe(bus, &seat_options, &seat), 0);
    seqcast_claim mail, report;
    CHECK_IS(seqcast_seat_claim(seat, TEXT("mail"), HOUR, &mail, NULL, NULL), SEQCAST_CLAIM_WON);
    CHECK_IS(seqcast_seat_claim(seat, TEXT("report"), HOUR, &report, NULL, NULL), SEQCAST_CLAIM_WON);
    CHECK_IS(seqcast_seat_release(seat, &report), 1);
    seqcast_post_options unique = {0};
    unique.size = sizeof unique;
    unique.key = "mail";
    unique.key_len = 4;
    unique.ttl_ns = HOUR;
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, "p", 1, &unique, NULL), 0);
    expect_event(seat, "p");

    /* A process that holds a key and dies. */
    pid_t child = fork();
    if (child == 0) {
        seqcast_seat *mine = subscribe(bus);
        seqcast_claim claim;
        CHECK_IS(seqcast_seat_claim(mine, TEXT("lost"), HOUR, &claim, NULL, NULL), SEQCAST_CLAIM_WON);
        CHECK_IS(seqcast_seat_claim_for_life(mine, TEXT("for life"), HOUR, &claim, NULL, NULL), SEQCAST_CLAIM_WON);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);

    list = claims(inspector);
    const seqcast_claim_entry *entry = entry_of(list, bus, "mail");
    CHECK(entry != NULL && entry->kind == SEQCAST_CLAIM_ALONE && entry->winner == SEQCAST_WINNER_ALIVE);
    CHECK(entry->pid == (uint32_t)getpid() && entry->seat == (uint32_t)seqcast_seat_number(seat));
    CHECK(strcmp(entry->label, "web-1") == 0 && entry->ends_with_holder == 0);
    CHECK(entry->left_ns > HOUR / 2 && entry->left_ns <= HOUR && entry->since_ns < HOUR / 2);
    CHECK(memcmp(&entry->claim, &mail, sizeof mail) == 0);
    CHECK(entry->first_id == 0 && entry->last_id == 0);

    entry = entry_of(list, bus, "lost");
    CHECK(entry != NULL && entry->winner == SEQCAST_WINNER_DEAD && entry->pid == (uint32_t)child);
    CHECK(entry->left_ns > 0 && entry->label[0] == 0);
    seqcast_claim lost = entry->claim;
    entry = entry_of(list, bus, "for life");
    CHECK(entry != NULL && entry->ends_with_holder == 1 && entry->left_ns == 0);
    entry = entry_of(list, bus, "report");
    CHECK(entry == NULL || entry->left_ns == 0);

    /* The event's key is another key than that of the claim without an event. */
    int events = 0;
    for (size_t i = 0; seqcast_claim_list_at(list, i, &entry) > 0; i++)
        events += entry->kind == SEQCAST_CLAIM_EVENT && entry->first_id == 0 && entry->last_id == 0 &&
                  entry->left_ns > 0;
    CHECK_IS(events, 1);

    /* A list does not change. The claim of a dead holder is released in its place. */
    int count = seqcast_claim_list_count(list);
    CHECK(count >= 4);
    CHECK_IS(seqcast_claim_list_at(list, (size_t)count, &entry), 0);
    CHECK_IS(seqcast_claim_list_at(list, SIZE_MAX, &entry), 0);
    CHECK_IS(seqcast_bus_held(bus, TEXT("lost"), NULL), 1);
    CHECK_IS(seqcast_seat_release(seat, &lost), 1);
    CHECK_IS(seqcast_bus_held(bus, TEXT("lost"), NULL), 0);
    CHECK_IS(seqcast_seat_release(seat, &lost), 0);
    CHECK_IS(seqcast_inspector_free(inspector), 0);
    CHECK(entry_of(list, bus, "lost")->left_ns > 0);
    CHECK_IS(seqcast_claim_list_free(list), 0);
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
    return 0;
}
