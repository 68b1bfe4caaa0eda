/* A descriptor that is readable while there is something to read. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"

/* Returns 1 if the descriptor becomes readable within `ms` milliseconds. */
static int is_readable(int fd, int ms) {
    struct pollfd ready = {fd, POLLIN, 0};
    int count = poll(&ready, 1, ms);
    CHECK(count >= 0 && (count == 0 || ready.revents == POLLIN));
    return count;
}

/* Reads everything, and arms the bell. Returns how many events there were. */
static int take_all(seqcast_seat *seat) {
    const seqcast_delivery *delivery;
    int count = 0, result;
    do {
        while ((result = seqcast_seat_next(seat, 0, &delivery)) > 0)
            count += delivery->kind == SEQCAST_EVENT;
        CHECK_IS(result, 0);
    } while ((result = seqcast_seat_arm(seat)) > 0);
    CHECK_IS(result, 0);
    return count;
}

/* A seat with a bell whose interval is an hour. */
static seqcast_seat *with_bell(const seqcast_bus *bus, int *fd) {
    seqcast_seat_options options = quiet();
    options.wait_max_ns = HOUR;
    seqcast_bell_options bell_options = {0};
    bell_options.size = sizeof bell_options;
    bell_options.interval_ns = HOUR;
    seqcast_seat *seat;
    CHECK_IS(seqcast_bus_subscribe(bus, &options, &seat), 0);
    CHECK_IS(seqcast_seat_arm(seat), SEQCAST_E_NO_BELL);
    CHECK_IS(seqcast_seat_bell_kind(seat), SEQCAST_E_NO_BELL);
    CHECK_IS(seqcast_seat_bell(seat, &bell_options, fd), 0);
    CHECK(*fd > 2 && (fcntl(*fd, F_GETFD) & FD_CLOEXEC));
    int again;
    CHECK_IS(seqcast_seat_bell(seat, NULL, &again), 0);
    CHECK_IS(again, *fd);
    return seat;
}

static void a_post_rings_the_bell(void) {
    seqcast_bus *bus = small_bus();
    int fd;
    seqcast_seat *seat = with_bell(bus, &fd), *poster = publisher(bus);
    char text[256];
    int kind = seqcast_seat_bell_kind(seat), len = seqcast_seat_bell_unheard(seat, text, sizeof text);
    CHECK(kind == SEQCAST_BELL_INOTIFY ? len == 0 : kind == SEQCAST_BELL_TICK && len > 0);
    /* It is readable at first, so that the loop arms it. */
    CHECK_IS(is_readable(fd, 0), 1);
    CHECK_IS(take_all(seat), 0);
    if (kind == SEQCAST_BELL_INOTIFY)
        CHECK_IS(is_readable(fd, 1), 0);
    for (int round = 0; round < 10; round++) {
        post(poster, "1");
        CHECK_IS(is_readable(fd, -1), 1);
        post(poster, "2");
        CHECK_IS(take_all(seat), 2);
    }
    /* Its own posts ring it, too. */
    post(seat, "mine");
    CHECK_IS(is_readable(fd, -1), 1);
    CHECK_IS(take_all(seat), 1);
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(fcntl(fd, F_GETFD), -1);
    seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void the_end_of_a_reservation_rings_the_bell(void) {
    seqcast_bus *bus = small_bus();
    int fd;
    uint64_t id;
    seqcast_seat *seat = with_bell(bus, &fd), *poster = publisher(bus);
    take_all(seat);
    CHECK_IS(seqcast_seat_reserve(poster, &id), 0);
    CHECK_IS(is_readable(fd, -1), 1);
    CHECK_IS(take_all(seat), 0);
    CHECK_IS(seqcast_seat_commit(poster, id, "s", 1, "e", 1, NULL, 0, NULL), 0);
    CHECK_IS(is_readable(fd, -1), 1);
    CHECK_IS(take_all(seat), 1);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_post_of_another_process_rings_the_bell_and_a_child_cannot_use_it(void) {
    seqcast_bus *bus = small_bus();
    int fd, status;
    seqcast_seat *seat = with_bell(bus, &fd);
    take_all(seat);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int inherited;
        CHECK_IS(seqcast_seat_arm(seat), SEQCAST_E_FORKED);
        CHECK_IS(seqcast_seat_bell(seat, NULL, &inherited), SEQCAST_E_FORKED);
        CHECK_IS(seqcast_seat_free(seat), 0);
        seqcast_seat *own = publisher(bus);
        post(own, "from the child");
        CHECK_IS(seqcast_seat_free(own), 0);
        _exit(0);
    }
    CHECK_IS(is_readable(fd, -1), 1);
    int count = 0;
    while (count == 0) {
        CHECK_IS(is_readable(fd, -1), 1);
        count = take_all(seat);
    }
    CHECK_IS(count, 1);
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(status, 0);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void leaving_closes_the_bell(void) {
    seqcast_bus *bus = small_bus();
    int fd;
    seqcast_seat *seat = with_bell(bus, &fd);
    CHECK_IS(seqcast_seat_leave(seat), 0);
    CHECK_IS(fcntl(fd, F_GETFD), -1);
    CHECK_IS(seqcast_seat_arm(seat), SEQCAST_E_LEFT);
    CHECK_IS(seqcast_seat_bell(seat, NULL, &fd), SEQCAST_E_LEFT);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

static void a_bell_that_was_closed_is_made_again(void) {
    seqcast_bus *bus = small_bus();
    int fd, other;
    seqcast_seat *seat = with_bell(bus, &fd), *poster = publisher(bus);
    take_all(seat);
    /* As a daemon closes descriptors that it did not open. */
    CHECK_IS(close(fd), 0);
    int mine = dup(STDERR_FILENO);
    CHECK_IS(mine, fd);
    CHECK_IS(seqcast_seat_arm(seat), SEQCAST_E_BELL_CLOSED);
    CHECK_IS(seqcast_seat_arm(seat), SEQCAST_E_NO_BELL);
    CHECK_IS(fcntl(mine, F_GETFD), 0);
    CHECK_IS(seqcast_seat_bell(seat, NULL, &other), 0);
    CHECK(other != mine);
    take_all(seat);
    post(poster, "x");
    CHECK_IS(is_readable(other, -1), 1);
    CHECK_IS(take_all(seat), 1);
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(fcntl(mine, F_GETFD), 0);
    close(mine);
    seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void bad_options_are_errors_and_others_are_taken(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus);
    int fd = -1;
    seqcast_bell_options options = {0};
    CHECK_IS(seqcast_seat_bell(seat, &options, &fd), SEQCAST_E_SIZE);
    options.size = sizeof options;
    options.thread = 1;
    CHECK_IS(seqcast_seat_bell(seat, &options, &fd), 0);
    CHECK_IS(seqcast_seat_bell_kind(seat), SEQCAST_BELL_THREAD);
    take_all(seat);
    post(seat, "x");
    CHECK_IS(is_readable(fd, -1), 1);
    CHECK_IS(take_all(seat), 1);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
}

int main(void) {
    a_post_rings_the_bell();
    the_end_of_a_reservation_rings_the_bell();
    a_post_of_another_process_rings_the_bell_and_a_child_cannot_use_it();
    leaving_closes_the_bell();
    a_bell_that_was_closed_is_made_again();
    bad_options_are_errors_and_others_are_taken();
    return 0;
}
