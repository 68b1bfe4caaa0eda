/* A bell in a loop of libuv, beside a timer. */
#include <sys/wait.h>
#include <uv.h>

#include "check.h"

#define POSTS 1000

struct reader {
    seqcast_seat *seat;
    int acknowledge; /* where each event is told to the poster */
    int events;
    uv_poll_t bell;
    uv_timer_t timer;
    int ticks;
};

static void when_readable(uv_poll_t *bell, int status, int events) {
    struct reader *reader = bell->data;
    const seqcast_delivery *delivery;
    int result;
    CHECK_IS(status, 0);
    CHECK(events & UV_READABLE);
    do {
        while ((result = seqcast_seat_next(reader->seat, 0, &delivery)) > 0) {
            CHECK_IS(delivery->kind, SEQCAST_EVENT);
            reader->events++;
            CHECK_IS(write(reader->acknowledge, "x", 1), 1);
        }
        CHECK_IS(result, 0);
    } while ((result = seqcast_seat_arm(reader->seat)) > 0);
    CHECK_IS(result, 0);
    if (reader->events == POSTS) {
        uv_close((uv_handle_t *)bell, NULL);
        uv_close((uv_handle_t *)&reader->timer, NULL);
    }
}

static void tick(uv_timer_t *timer) {
    struct reader *reader = timer->data;
    reader->ticks++;
}

/* Each post comes when the loop has read the one before, so that it is asleep or about to be. */
static void post_all(const seqcast_bus *bus, int acknowledged) {
    char byte;
    seqcast_seat *poster = publisher(bus);
    for (int round = 0; round < POSTS; round++) {
        post(poster, "to a loop of libuv");
        CHECK_IS(read(acknowledged, &byte, 1), 1);
    }
    CHECK_IS(seqcast_seat_free(poster), 0);
}

int main(void) {
    seqcast_bus *bus = small_bus();
    int ends[2], fd, status;
    CHECK_IS(pipe(ends), 0);
    struct reader reader = {.seat = subscribe(bus), .acknowledge = ends[1]};
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        /* The other end of the pipe is the parent's alone. */
        close(ends[1]);
        CHECK_IS(seqcast_seat_free(reader.seat), 0);
        post_all(bus, ends[0]);
        _exit(0);
    }
    close(ends[0]);
    seqcast_bell_options options = {0};
    options.size = sizeof options;
    options.interval_ns = HOUR;
    CHECK_IS(seqcast_seat_bell(reader.seat, &options, &fd), 0);

    uv_loop_t loop;
    CHECK_IS(uv_loop_init(&loop), 0);
    CHECK_IS(uv_poll_init(&loop, &reader.bell, fd), 0);
    CHECK_IS(uv_timer_init(&loop, &reader.timer), 0);
    reader.bell.data = reader.timer.data = &reader;
    CHECK_IS(uv_poll_start(&reader.bell, UV_READABLE, when_readable), 0);
    CHECK_IS(uv_timer_start(&reader.timer, tick, 0, 1), 0);
    CHECK_IS(uv_run(&loop, UV_RUN_DEFAULT), 0);
    CHECK_IS(uv_loop_close(&loop), 0);

    CHECK_IS(reader.events, POSTS);
    CHECK(reader.ticks > 0);
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK_IS(status, 0);
    CHECK_IS(seqcast_seat_free(reader.seat), 0);
    seqcast_bus_free(bus);
    return 0;
}
