/* Forked children can use an inherited bus but no inherited seat, and cannot harm the parent's seat. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

/* Runs `body` in a child, which must succeed. */
#define IN_CHILD(body)                                            \
    do {                                                          \
        pid_t child_ = fork();                                    \
        CHECK(child_ >= 0);                                       \
        if (child_ == 0) {                                        \
            body;                                                 \
            _exit(0);                                             \
        }                                                         \
        int status_;                                              \
        CHECK_IS(waitpid(child_, &status_, 0), child_);           \
        CHECK(WIFEXITED(status_) && WEXITSTATUS(status_) == 0);   \
    } while (0)

static void seat_calls_are_errors(seqcast_seat *seat) {
    const seqcast_delivery *delivery;
    seqcast_claim claim = {{0}};
    CHECK_IS(seqcast_seat_next(seat, 0, &delivery), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_wait(seat, HOUR), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_post(seat, "s", 1, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_claim(seat, "k", 1, HOUR, &claim, NULL, NULL), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_release(seat, &claim), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_claim_for_life(seat, "k", 1, HOUR, &claim, NULL, NULL), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_renew(seat, &claim, HOUR), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_complete(seat, &claim, HOUR), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_claim_left(seat, &claim, NULL), SEQCAST_E_FORKED);
    uint64_t id;
    CHECK_IS(seqcast_seat_reserve(seat, &id), SEQCAST_E_FORKED);
    CHECK_IS(seqcast_seat_commit(seat, 0, "s", 1, "e", 1, NULL, 0, NULL), SEQCAST_E_FORKED);
    CHECK_MESSAGE("fork");
}

static void a_child_cannot_use_its_parents_seat_but_the_bus(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus), *poster = publisher(bus);
    post(poster, "for the parent");
    IN_CHILD({
        seat_calls_are_errors(seat);
        CHECK_IS(seqcast_seat_post(poster, "s", 1, "e", 1, NULL, 0, NULL, NULL), SEQCAST_E_FORKED);
        CHECK_IS(seqcast_seat_free(poster), 0);
        CHECK_IS(seqcast_seat_free(seat), 0);
        seqcast_seat *own = subscribe(bus);
        post(own, "from the child");
        expect_event(own, "from the child");
        CHECK_IS(seqcast_seat_free(own), 0);
        CHECK_IS(seqcast_bus_free(bus), 0);
    });
    expect_event(seat, "for the parent");
    const seqcast_delivery *delivery = expect_event(seat, "from the child");
    CHECK(delivery->own == 0 && delivery->pid != (uint32_t)getpid());
    post(poster, "goes on");
    expect_event(seat, "goes on");
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(seqcast_seat_free(poster), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
}

static void leaving_in_a_child_leaves_nothing(void) {
    seqcast_bus *bus = small_bus();
    seqcast_seat *seat = subscribe(bus);
    IN_CHILD(CHECK_IS(seqcast_seat_leave(seat), SEQCAST_E_FORKED));
    expect_nothing(seat);
    post(seat, "mine");
    expect_event(seat, "mine");
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
}

static seqcast_seat *busy;

static void *waits(void *unused) {
    (void)unused;
    const seqcast_delivery *delivery;
    int result;
    /* The other thread may be inside a call when this one begins. */
    do {
        result = seqcast_seat_next(busy, HOUR, &delivery);
    } while (result == SEQCAST_E_IN_USE);
    CHECK_IS(result, 1);
    return NULL;
}

static void a_fork_while_a_thread_is_in_a_call(void) {
    seqcast_bus *bus = small_bus();
    busy = subscribe(bus);
    seqcast_seat *poster = publisher(bus);
    pthread_t thread;
    CHECK_IS(pthread_create(&thread, NULL, waits, NULL), 0);
    while (seqcast_seat_number(busy) >= 0)
        usleep(100);
    IN_CHILD({
        seat_calls_are_errors(busy);
        CHECK_IS(seqcast_seat_free(busy), 0);
        CHECK_IS(seqcast_seat_number(busy), SEQCAST_E_HANDLE);
        seqcast_seat *own = publisher(bus);
        post(own, "go");
        CHECK_IS(seqcast_seat_free(own), 0);
    });
    CHECK_IS(pthread_join(thread, NULL), 0);
    CHECK_IS(seqcast_seat_free(busy), 0);
    CHECK_IS(seqcast_seat_free(poster), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
}

static void a_killed_childs_seat_is_taken_over(void) {
    seqcast_bus *bus = small_bus();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        post(subscribe(bus), "then killed");
        kill(getpid(), SIGKILL);
    }
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status));
    seqcast_stats *stats;
    uint64_t value;
    CHECK_IS(seqcast_bus_stats(bus, &stats), 0);
    CHECK_IS(seqcast_stats_rows(stats), 2);
    CHECK_IS(seqcast_stats_get(stats, 1, TEXT("alive"), &value), 1);
    CHECK_IS(value, 0);
    CHECK_IS(seqcast_stats_free(stats), 0);
    seqcast_seat *seat = subscribe(bus);
    CHECK_IS(seqcast_seat_number(seat), 0);
    CHECK_IS(seqcast_seat_free(seat), 0);
    CHECK_IS(seqcast_bus_free(bus), 0);
}

int main(void) {
    a_child_cannot_use_its_parents_seat_but_the_bus();
    leaving_in_a_child_leaves_nothing();
    a_fork_while_a_thread_is_in_a_call();
    a_killed_childs_seat_is_taken_over();
    return 0;
}
