/* Forwarded bells: a thread sends a byte to a socket when there are events to read. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static int is_readable(int fd, int ms) {
    struct pollfd ready = {fd, POLLIN, 0};
    int count = poll(&ready, 1, ms);
    CHECK(count >= 0);
    return count;
}

/* Takes the bytes that have arrived. */
static void take_bytes(int socket) {
    char bytes[64];
    while (recv(socket, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    CHECK_IS(errno, EAGAIN);
}

/* Reads everything, and arms the bell. Returns the number of events. */
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

/* A bell with an interval of an hour. */
static seqcast_bell_options by_posts_alone(void) {
    seqcast_bell_options options = {0};
    options.size = sizeof options;
    options.interval_ns = HOUR;
    return options;
}

/* Waits for bytes until `count` events are read. */
static void expect_events(seqcast_seat *seat, int socket, int count) {
    while (count > 0) {
        CHECK_IS(is_readable(socket, -1), 1);
        take_bytes(socket);
        count -= take_all(seat);
    }
    CHECK_IS(count, 0);
}

static void each_post_that_finds_the_loop_asleep_sends_a_byte(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    seqcast_bell_options options = by_posts_alone();
    int pair[2];
    CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    CHECK_IS(seqcast_seat_forward(seat, &options, pair[0]), 0);
    /* The library has duplicated the descriptor. */
    CHECK_IS(close(pair[0]), 0);
    /* A new bell is readable. */
    CHECK_IS(is_readable(pair[1], -1), 1);
    CHECK_IS(take_all(seat), 0);
    for (int round = 0; round < 100; round++) {
        take_bytes(pair[1]);
        post(poster, "1");
        post(seat, "2");
        expect_events(seat, pair[1], 2);
    }
    CHECK_IS(seqcast_seat_free(seat), 0);
    /* The thread has ended, and with it the other end of the socket. */
    take_bytes(pair[1]);
    CHECK_IS(send(pair[1], "x", 1, 0), -1);
    CHECK(errno == ECONNREFUSED || errno == ENOTCONN || errno == EPIPE);
    close(pair[1]);
    seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_full_socket_holds_nobody_up(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    seqcast_bell_options options = by_posts_alone();
    int pair[2];
    CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    while (send(pair[0], "x", 1, MSG_DONTWAIT) == 1) {
    }
    CHECK_IS(seqcast_seat_forward(seat, &options, pair[0]), 0);
    for (int round = 0; round < 10; round++) {
        take_all(seat);
        post(poster, "x");
    }
    expect_events(seat, pair[1], 1);
    /* The socket's reader is gone. */
    close(pair[1]);
    post(poster, "x");
    CHECK_IS(seqcast_seat_leave(seat), 0);
    close(pair[0]);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

static void a_second_call_sends_to_another_socket(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    seqcast_bell_options options = by_posts_alone();
    int first[2], second[2];
    CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, first), 0);
    CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, second), 0);
    CHECK_IS(seqcast_seat_forward(seat, &options, first[0]), 0);
    take_all(seat);
    CHECK_IS(seqcast_seat_forward(seat, &options, second[0]), 0);
    take_bytes(first[1]);
    take_all(seat);
    take_bytes(second[1]);
    post(poster, "x");
    expect_events(seat, second[1], 1);
    CHECK_IS(is_readable(first[1], 0), 0);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
    close(first[0]), close(first[1]), close(second[0]), close(second[1]);
}

static volatile sig_atomic_t signals;

static void count_signal(int number) {
    (void)number;
    signals++;
}

/* Signals are for the program's own threads: nginx's waiting thread checks what a handler has set. */
static void the_thread_takes_no_signals(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus);
    seqcast_bell_options options = by_posts_alone();
    int pair[2];
    sigset_t usr1, pending;
    CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    CHECK_IS(seqcast_seat_forward(seat, &options, pair[0]), 0);
    CHECK(signal(SIGUSR1, count_signal) != SIG_ERR);
    sigemptyset(&usr1), sigaddset(&usr1, SIGUSR1);
    CHECK_IS(sigprocmask(SIG_BLOCK, &usr1, NULL), 0);
    CHECK_IS(kill(getpid(), SIGUSR1), 0);
    CHECK_IS(sigpending(&pending), 0);
    CHECK(sigismember(&pending, SIGUSR1));
    CHECK_IS(signals, 0);
    CHECK_IS(sigprocmask(SIG_UNBLOCK, &usr1, NULL), 0);
    CHECK_IS(signals, 1);
    seqcast_seat_free(seat), seqcast_bus_free(bus);
    close(pair[0]), close(pair[1]);
}

static void a_child_has_no_thread_to_wait_for(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    seqcast_bell_options options = by_posts_alone();
    int pair[2], status;
    CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    CHECK_IS(seqcast_seat_forward(seat, &options, pair[0]), 0);
    take_all(seat);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_IS(seqcast_seat_forward(seat, &options, pair[0]), SEQCAST_E_FORKED);
        CHECK_IS(seqcast_seat_free(seat), 0);
        /* Not exit(): valgrind would report memory of the thread, which is only in the parent. */
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(status, 0);
    take_bytes(pair[1]);
    take_all(seat);
    post(poster, "x");
    expect_events(seat, pair[1], 1);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
    close(pair[0]), close(pair[1]);
}

static int count_threads(void) {
    DIR *folder = opendir("/proc/self/task");
    CHECK(folder != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

#define NUMBERS 256

/* Notes the open descriptor numbers. */
static void note_open(char is_open[NUMBERS]) {
    for (int number = 0; number < NUMBERS; number++)
        is_open[number] = fcntl(number, F_GETFD) != -1;
}

/* Duplicates `mine` onto all numbers that were opened since. Returns how many there are. */
static int take_new_numbers(const char before[NUMBERS], int mine, char taken[NUMBERS]) {
    int count = 0;
    note_open(taken);
    for (int number = 0; number < NUMBERS; number++) {
        taken[number] = taken[number] && !before[number];
        if (taken[number])
            CHECK_IS(dup2(mine, number), number);
        count += taken[number];
    }
    return count;
}

/* The numbers lead to the program's own files, and nothing was sent through them. */
static void expect_untouched(const char taken[NUMBERS], int other_end) {
    for (int number = 0; number < NUMBERS; number++)
        CHECK(!taken[number] || fcntl(number, F_GETFD) == 0);
    CHECK_IS(is_readable(other_end, 0), 0);
}

/* A daemon replaces descriptors that it did not open: here only those of the thread. */
static void numbers_that_other_code_takes_are_left_alone(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    seqcast_bell_options options = by_posts_alone();
    char before[NUMBERS], taken[NUMBERS];
    int pair[2], mine[2], fd, threads = count_threads();
    CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, mine), 0);
    CHECK_IS(seqcast_seat_bell(seat, &options, &fd), 0);
    note_open(before);
    CHECK_IS(seqcast_seat_forward(seat, NULL, pair[0]), 0);
    take_all(seat);
    CHECK(take_new_numbers(before, mine[0], taken) >= 3);
    /* The post wakes the thread, and it ends. */
    post(poster, "x");
    while (count_threads() > threads)
        usleep(1000);
    CHECK_IS(seqcast_seat_arm(seat), SEQCAST_E_BELL_CLOSED);
    CHECK_MESSAGE("seqcast_seat_forward");
    CHECK_IS(seqcast_seat_arm(seat), SEQCAST_E_NO_BELL);
    take_bytes(pair[1]);
    CHECK_IS(seqcast_seat_forward(seat, &options, pair[0]), 0);
    expect_events(seat, pair[1], 1);
    post(poster, "x");
    expect_events(seat, pair[1], 1);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
    expect_untouched(taken, mine[1]);
    for (int number = 0; number < NUMBERS; number++)
        if (taken[number])
            close(number);
    close(pair[0]), close(pair[1]), close(mine[0]), close(mine[1]);
}

/* Also those of the bell: nothing wakes the thread, and no call waits for it. */
static void a_seat_whose_numbers_are_all_taken_ends(void) {
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        seqcast_bus *bus = small_bus();
        seqcast_seat *seat = subscribe(bus);
        seqcast_bell_options options = by_posts_alone();
        char before[NUMBERS], taken[NUMBERS];
        int pair[2], mine[2];
        CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
        CHECK_IS(socketpair(AF_UNIX, SOCK_DGRAM, 0, mine), 0);
        note_open(before);
        CHECK_IS(seqcast_seat_forward(seat, &options, pair[0]), 0);
        take_all(seat);
        CHECK(take_new_numbers(before, mine[0], taken) >= 6);
        CHECK_IS(seqcast_seat_free(seat), 0);
        expect_untouched(taken, mine[1]);
        /* The thread still sleeps, which valgrind would report. */
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(status, 0);
}

static void what_is_no_socket_is_refused(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    seqcast_bell_options options = {0};
    CHECK_IS(seqcast_seat_forward(seat, NULL, -1), SEQCAST_E_SYSTEM);
    CHECK_IS(seqcast_error_errno(), EBADF);
    CHECK(strstr(seqcast_error_message(), "fcntl") != NULL);
    CHECK_IS(seqcast_seat_forward(seat, &options, 0), SEQCAST_E_SIZE);
    CHECK_IS(seqcast_seat_forward(poster, NULL, 0), SEQCAST_E_NOT_A_READER);
    CHECK_IS(seqcast_seat_forward(NULL, NULL, 0), SEQCAST_E_NULL);
    CHECK_IS(seqcast_seat_leave(seat), 0);
    CHECK_IS(seqcast_seat_forward(seat, NULL, 0), SEQCAST_E_LEFT);
    seqcast_seat_free(seat), seqcast_seat_free(poster), seqcast_bus_free(bus);
}

int main(void) {
    each_post_that_finds_the_loop_asleep_sends_a_byte();
    a_full_socket_holds_nobody_up();
    a_second_call_sends_to_another_socket();
    the_thread_takes_no_signals();
    a_child_has_no_thread_to_wait_for();
    numbers_that_other_code_takes_are_left_alone();
    a_seat_whose_numbers_are_all_taken_ends();
    what_is_no_socket_is_refused();
    return 0;
}
