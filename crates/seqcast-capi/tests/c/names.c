/* Segments with a name: creating, opening and removing them. The argument is the name of a segment. */
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

static void names_are_those_that_were_given(const char *name) {
    char text[256], id[64];
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.capacity = 64;
    options.unlink_on_free = 1;
    seqcast_bus *bus, *other;
    CHECK_IS(seqcast_bus_open(TEXT(name), NULL, &bus), SEQCAST_E_NOT_FOUND);
    CHECK(bus == NULL);
    CHECK_MESSAGE(name);
    CHECK_IS(seqcast_error_code(SEQCAST_E_NOT_FOUND, text, sizeof text), 9);
    CHECK(strcmp(text, "not_found") == 0);

    CHECK_IS(seqcast_bus_create(TEXT(name), &options, &bus), 0);
    CHECK_IS(seqcast_bus_was_created(bus), 1);
    CHECK_IS(seqcast_bus_create(TEXT(name), &options, &other), SEQCAST_E_EXISTS);
    CHECK_IS(seqcast_bus_name(bus, text, sizeof text), (int)strlen(name) + 1);
    CHECK(text[0] == '/' && strcmp(text + 1, name) == 0);
    CHECK_IS(seqcast_bus_name(bus, text, 4), (int)strlen(name) + 1);
    CHECK(strlen(text) == 3 && strncmp(text + 1, name, 2) == 0);
    CHECK_IS(seqcast_bus_name(bus, NULL, 0), (int)strlen(name) + 1);
    CHECK_IS(seqcast_bus_id(bus, id, sizeof id), 32);

    uint64_t number;
    CHECK_IS(seqcast_bus_capacity(bus, &number), 0);
    CHECK_IS(number, 64);
    CHECK_IS(seqcast_bus_largest_event(bus, &number), 0);
    CHECK(number > 288);

    /* An existing segment keeps its sizes and reports the differences. */
    options.capacity = 128;
    options.unlink_on_free = 0;
    CHECK_IS(seqcast_bus_open_or_create(TEXT(name), &options, &other), 0);
    CHECK_IS(seqcast_bus_was_created(other), 0);
    CHECK(seqcast_bus_differences(other, text, sizeof text) > 0);
    CHECK(strcmp(text, "capacity is 64, not 128") == 0);
    CHECK_IS(seqcast_bus_differences(bus, text, sizeof text), 0);
    CHECK_IS(seqcast_bus_free(other), 0);
    options.strict = 1;
    CHECK_IS(seqcast_bus_open_or_create(TEXT(name), &options, &other), SEQCAST_E_OPTIONS_DIFFER);

    CHECK_IS(seqcast_unlink_unheld(TEXT(name)), 0);
    CHECK_IS(seqcast_bus_is_current(bus), 1);
    CHECK_IS(seqcast_bus_unlink(bus), 0);
    CHECK_IS(seqcast_bus_is_current(bus), 0);
    CHECK_IS(seqcast_unlink(TEXT(name)), SEQCAST_E_NOT_FOUND);
    CHECK_IS(seqcast_bus_free(bus), 0);

    options.strict = 0;
    CHECK_IS(seqcast_bus_open_or_create(TEXT(name), &options, &bus), 0);
    CHECK_IS(seqcast_bus_was_created(bus), 1);
    CHECK_IS(seqcast_bus_free(bus), 0);
    CHECK_IS(seqcast_unlink_unheld(TEXT(name)), 1);
}

static seqcast_bus *open_or_create(const char *name) {
    seqcast_bus *bus;
    CHECK_IS(seqcast_bus_open_or_create(TEXT(name), NULL, &bus), 0);
    return bus;
}

static int exists(const char *name) {
    seqcast_inspector *inspector;
    if (seqcast_inspector_open(TEXT(name), &inspector) == SEQCAST_E_NOT_FOUND)
        return 0;
    CHECK_IS(seqcast_inspector_free(inspector), 0);
    return 1;
}

static void the_last_handle_removes_the_name(const char *name) {
    seqcast_bus *first = open_or_create(name), *second = open_or_create(name);
    seqcast_seat *seat = subscribe(first);
    CHECK_IS(seqcast_bus_unlink_if_last(first), 0);
    CHECK_IS(seqcast_bus_was_created(first), SEQCAST_E_HANDLE);
    CHECK_IS(seqcast_bus_unlink_if_last(second), 0);
    CHECK_IS(seqcast_bus_unlink_if_last(second), SEQCAST_E_HANDLE);
    CHECK(exists(name));

    /* A seat keeps the name. */
    post(seat, "still there");
    expect_event(seat, "still there");
    CHECK_IS(seqcast_bus_unlink_if_last(open_or_create(name)), 0);
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK(exists(name));
    CHECK_IS(seqcast_bus_unlink_if_last(open_or_create(name)), 1);
    CHECK(!exists(name));
}

static void inspectors_do_not_keep_a_name(const char *name) {
    seqcast_bus *bus = open_or_create(name);
    seqcast_inspector *inspector;
    seqcast_tail *tail;
    CHECK_IS(seqcast_inspector_open(TEXT(name), &inspector), 0);
    CHECK_IS(seqcast_inspector_tail(inspector, NULL, &tail), 0);
    CHECK_IS(seqcast_bus_unlink_if_last(bus), 1);
    CHECK_IS(seqcast_inspector_is_current(inspector), 0);
    CHECK_IS(seqcast_tail_free(tail), 0);
    CHECK_IS(seqcast_inspector_free(inspector), 0);
}

static void a_child_keeps_a_name_until_it_is_killed(const char *name) {
    seqcast_bus *bus = open_or_create(name);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        subscribe(bus);
        raise(SIGSTOP);
        _exit(1);
    }
    int status;
    CHECK_IS(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
    CHECK_IS(seqcast_bus_unlink_if_last(bus), 0);
    CHECK_IS(kill(child, SIGKILL), 0);
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(seqcast_bus_unlink_if_last(open_or_create(name)), 1);
    CHECK(!exists(name));
}

static void a_name_that_leads_elsewhere_is_left_alone(const char *name) {
    seqcast_bus *old = open_or_create(name);
    CHECK_IS(seqcast_bus_unlink(old), 0);
    CHECK_IS(seqcast_bus_free(open_or_create(name)), 0);
    CHECK_IS(seqcast_bus_unlink_if_last(old), 0);
    CHECK(exists(name));
    CHECK_IS(seqcast_unlink(TEXT(name)), 0);
    CHECK_IS(seqcast_bus_unlink_if_last(small_bus()), 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    names_are_those_that_were_given(argv[1]);
    the_last_handle_removes_the_name(argv[1]);
    inspectors_do_not_keep_a_name(argv[1]);
    a_child_keeps_a_name_until_it_is_killed(argv[1]);
    a_name_that_leads_elsewhere_is_left_alone(argv[1]);
    return 0;
}
