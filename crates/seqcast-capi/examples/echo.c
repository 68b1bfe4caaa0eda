/*
 * A prefork echo server: workers that share a listening socket, each with an epoll loop, connected by a bus.
 *
 *     seqcast-echo                    runs a demonstration with its own clients, and checks what they see
 *     seqcast-echo --serve PORT       serves on 127.0.0.1 until SIGTERM or SIGINT; try: nc 127.0.0.1 PORT
 *     seqcast-echo --serve PORT NAME  the same on a named segment, for `seqcast top NAME`
 *
 * A line is sent back unchanged. Some lines do more:
 *
 *     say TEXT    all clients of all workers get "said TEXT", in one order
 *     once KEY    one worker runs the job KEY, at most once a minute, and all clients get "ran KEY"
 *     pid         the process id of the worker
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "seqcast.h"

enum { WORKERS = 3, LINE = 512, MINUTE = 60 };

/* In the demonstration so few that the clients are spread over all workers. */
enum { CLIENTS_IN_DEMONSTRATION = 4, CLIENTS_IN_SERVICE = 256 };

static void fail(const char *what) {
    fprintf(stderr, "seqcast-echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Ends the process if a call of the library failed. */
static int checked(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "seqcast-echo: %s: %s\n", what, seqcast_error_message());
        exit(1);
    }
    return result;
}

/* ---- connections, for both sides ---- */

struct connection {
    int fd;
    size_t len;
    char buffer[LINE];
    struct connection *next;
};

/* Sends a line. Returns 0 if the peer is gone or does not accept it. */
static int send_line(const struct connection *to, const char *what, const char *text, size_t len) {
    char line[LINE + 64];
    int length = snprintf(line, sizeof line, "%s%.*s\n", what, (int)len, text);
    return send(to->fd, line, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) == length;
}

/* Takes a line out of the buffer. Returns 0 if there is no complete line. */
static int take_line(struct connection *from, char line[LINE], size_t *len) {
    char *end = memchr(from->buffer, '\n', from->len);
    if (end == NULL)
        return 0;
    *len = (size_t)(end - from->buffer);
    memcpy(line, from->buffer, *len);
    line[*len] = '\0';
    from->len -= *len + 1;
    memmove(from->buffer, end + 1, from->len);
    return 1;
}

/* Receives what there is. Returns 0 if the peer is gone or its line is too long. */
static int receive(struct connection *from, int flags) {
    ssize_t got = recv(from->fd, from->buffer + from->len, LINE - from->len, flags);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    from->len += (size_t)got;
    return got > 0;
}

static int is(const char *data, size_t len, const char *text) {
    return len == strlen(text) && memcmp(data, text, len) == 0;
}

/* ---- a worker ---- */

struct worker {
    seqcast_seat *seat;
    int epoll, listener, bell, most_clients, client_count;
    struct connection *clients;
};

static void watch(struct worker *worker, int fd, uint32_t events, void *data) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.ptr = data;
    if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

/* Sends a line to a client. Disconnects a client that does not accept it. */
static void tell(const struct connection *client, const char *what, const char *text, size_t len) {
    if (!send_line(client, what, text, len))
        shutdown(client->fd, SHUT_RDWR);
}

static void tell_all(const struct worker *worker, const char *what, const char *text, size_t len) {
    for (const struct connection *client = worker->clients; client != NULL; client = client->next)
        tell(client, what, text, len);
}

/* Handles one delivery. Its memory is valid until the next one is taken. */
static void handle(struct worker *worker, const seqcast_delivery *delivery) {
    if (delivery->kind == SEQCAST_LAGGED) {
        /* A server that builds state from events rebuilds it here. */
        char text[64];
        int len = snprintf(text, sizeof text, "%llu", (unsigned long long)delivery->missed);
        tell_all(worker, "missed ", text, (size_t)len);
    }
    if (delivery->kind != SEQCAST_EVENT || !is(delivery->source, delivery->source_len, "echo"))
        return;
    const char *text = delivery->payload;
    size_t len = delivery->payload_len;
    if (is(delivery->event, delivery->event_len, "said"))
        tell_all(worker, "said ", text, len);
    if (is(delivery->event, delivery->event_len, "ran"))
        tell_all(worker, "ran ", text, len);
    /* This event is unique: only one worker gets it. */
    if (is(delivery->event, delivery->event_len, "run"))
        checked(seqcast_seat_post(worker->seat, "echo", 4, "ran", 3, text, len, NULL, NULL), "post");
}

/* The bell is readable: reads all events, then arms the bell. */
static void take_events(struct worker *worker) {
    const seqcast_delivery *delivery;
    do {
        while (checked(seqcast_seat_next(worker->seat, 0, &delivery), "next") > 0)
            handle(worker, delivery);
    } while (checked(seqcast_seat_arm(worker->seat), "arm") > 0);
}

static void handle_line(struct worker *worker, const struct connection *client, const char *line, size_t len) {
    if (len > 4 && memcmp(line, "say ", 4) == 0) {
        checked(seqcast_seat_post(worker->seat, "echo", 4, "said", 4, line + 4, len - 4, NULL, NULL), "post");
    } else if (len > 5 && memcmp(line, "once ", 5) == 0) {
        seqcast_post_options options = {0};
        options.size = sizeof options;
        options.key = line + 5;
        options.key_len = len - 5;
        options.ttl_ns = MINUTE * 1000000000ull;
        checked(seqcast_seat_post(worker->seat, "echo", 4, "run", 3, line + 5, len - 5, &options, NULL), "post");
    } else if (is(line, len, "pid")) {
        char text[32];
        tell(client, "", text, (size_t)snprintf(text, sizeof text, "%d", (int)getpid()));
    } else {
        tell(client, "", line, len);
    }
}

/* Returns 0 if the client is gone. */
static int take_lines(struct worker *worker, struct connection *client) {
    char line[LINE];
    size_t len;
    int is_there = receive(client, MSG_DONTWAIT);
    while (take_line(client, line, &len))
        handle_line(worker, client, line, len);
    return is_there;
}

static void leave_client(struct worker *worker, struct connection *client) {
    struct connection **at = &worker->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    close(client->fd);
    free(client);
    if (worker->client_count-- == worker->most_clients)
        watch(worker, worker->listener, EPOLLIN | EPOLLEXCLUSIVE, &worker->listener);
}

static void take_client(struct worker *worker) {
    int fd = accept4(worker->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return; /* Another worker was faster. */
    struct connection *client = calloc(1, sizeof *client);
    if (client == NULL)
        fail("calloc");
    client->fd = fd;
    client->next = worker->clients;
    worker->clients = client;
    watch(worker, fd, EPOLLIN, client);
    if (++worker->client_count < worker->most_clients)
        return;
    if (epoll_ctl(worker->epoll, EPOLL_CTL_DEL, worker->listener, NULL) < 0)
        fail("epoll_ctl");
}

static volatile sig_atomic_t is_over;

static void end(int signal_number) {
    (void)signal_number;
    is_over = 1;
}

static void end_by_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = end;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

static void run_worker(const seqcast_bus *bus, int listener, int number, int most_clients) {
    struct worker worker;
    memset(&worker, 0, sizeof worker);
    worker.listener = listener;
    worker.most_clients = most_clients;
    end_by_signals();
    char label[32];
    seqcast_seat_options options = {0};
    options.size = sizeof options;
    options.label = label;
    options.label_len = (size_t)snprintf(label, sizeof label, "echo-%d", number);
    checked(seqcast_bus_subscribe(bus, &options, &worker.seat), "subscribe");
    checked(seqcast_seat_bell(worker.seat, NULL, &worker.bell), "bell");

    worker.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (worker.epoll < 0)
        fail("epoll_create1");
    watch(&worker, listener, EPOLLIN | EPOLLEXCLUSIVE, &worker.listener);
    watch(&worker, worker.bell, EPOLLIN, &worker.bell);
    while (!is_over) {
        struct epoll_event event;
        if (epoll_wait(worker.epoll, &event, 1, 1000) != 1)
            continue;
        if (event.data.ptr == &worker.listener)
            take_client(&worker);
        else if (event.data.ptr == &worker.bell)
            take_events(&worker);
        else if (!take_lines(&worker, event.data.ptr))
            leave_client(&worker, event.data.ptr);
    }
    while (worker.clients != NULL)
        leave_client(&worker, worker.clients);
    close(worker.epoll);
    checked(seqcast_seat_free(worker.seat), "free");
}

/* ---- the master ---- */

struct master {
    seqcast_bus *bus;
    int listener, most_clients, replaced;
    pid_t workers[WORKERS];
};

static void start_worker(struct master *master, int number) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        /* A worker must not outlive the master. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        /* A child may use the bus. It takes its own seat. */
        run_worker(master->bus, master->listener, number, master->most_clients);
        checked(seqcast_bus_free(master->bus), "free");
        exit(0);
    }
    master->workers[number] = pid;
}

/* Replaces the worker `pid`, which has ended. */
static void replace(struct master *master, pid_t pid) {
    for (int i = 0; i < WORKERS; i++)
        if (master->workers[i] == pid) {
            master->replaced++;
            start_worker(master, i);
        }
}

static void stop_workers(const struct master *master) {
    for (int i = 0; i < WORKERS; i++)
        kill(master->workers[i], SIGTERM);
    for (int i = 0; i < WORKERS; i++) {
        int status = 0;
        while (waitpid(master->workers[i], &status, 0) < 0 && errno == EINTR)
            ;
        if (status != 0)
            fprintf(stderr, "seqcast-echo: worker %d ended with status %#x\n", i, (unsigned)status);
    }
}

static int listen_on(int port, int *bound) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 128) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        fail("listen");
    *bound = ntohs(address.sin_port);
    return fd;
}

/* Opens the bus, and starts the workers. Returns the port. */
static int begin(struct master *master, const char *name, int most_clients, int port) {
    memset(master, 0, sizeof *master);
    seqcast_bus_options options = {0};
    options.size = sizeof options;
    options.capacity = 1024;
    options.unlink_on_free = 1;
    if (name == NULL)
        checked(seqcast_bus_anonymous(&options, &master->bus), "open");
    else
        checked(seqcast_bus_open_or_create(name, strlen(name), &options, &master->bus), "open");
    master->listener = listen_on(port, &port);
    master->most_clients = most_clients;
    for (int i = 0; i < WORKERS; i++)
        start_worker(master, i);
    return port;
}

static int serve(int port, const char *name) {
    struct master master;
    end_by_signals();
    port = begin(&master, name, CLIENTS_IN_SERVICE, port);
    printf("seqcast-echo: %d workers serve 127.0.0.1:%d\n", WORKERS, port);
    while (!is_over) {
        pid_t pid = waitpid(-1, NULL, 0);
        if (pid > 0 && !is_over)
            replace(&master, pid);
    }
    stop_workers(&master);
    checked(seqcast_bus_free(master.bus), "free");
    return 0;
}

/* ---- the demonstration ---- */

enum { CLIENTS = WORKERS * CLIENTS_IN_DEMONSTRATION, SAID = 100 };

static void expect(int condition, const char *otherwise) {
    if (!condition) {
        fprintf(stderr, "seqcast-echo: %s\n", otherwise);
        exit(1);
    }
}

static void connect_to(int port, struct connection *client) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    /* Longer than any step here takes, so that nothing hangs. */
    struct timeval timeout = {300, 0};
    client->len = 0;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
        connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
}

/* Waits for a line. Returns 0 if the server is gone. */
static int hear(struct connection *client, char line[LINE]) {
    size_t len;
    while (!take_line(client, line, &len)) {
        if (!receive(client, 0))
            return 0;
        expect(client->len > 0, "a line did not come within a minute");
    }
    return 1;
}

static int ask(struct connection *client, const char *line, char answer[LINE]) {
    return send_line(client, "", line, strlen(line)) && hear(client, answer);
}

/* Every client says lines, and all clients hear all of them in one order. Returns how many lines were heard. */
static int check_order(struct connection clients[CLIENTS]) {
    char line[LINE], order[SAID][LINE];
    for (int i = 0; i < SAID; i++) {
        int len = snprintf(line, sizeof line, "%d, by client %d", i, i % CLIENTS);
        expect(send_line(&clients[i % CLIENTS], "say ", line, (size_t)len), "a client cannot speak");
    }
    for (int i = 0; i < CLIENTS; i++)
        for (int j = 0; j < SAID; j++) {
            expect(hear(&clients[i], line), "a client lost its connection");
            if (i == 0)
                memcpy(order[j], line, sizeof line);
            expect(strncmp(line, "said ", 5) == 0, "a client heard something else");
            expect(strcmp(order[j], line) == 0, "a client heard another order");
        }
    return CLIENTS * SAID;
}

/* Every client requests the same job: one worker runs it once. */
static void check_unique(struct connection clients[CLIENTS], const char *key) {
    char line[LINE], ran[LINE];
    snprintf(ran, sizeof ran, "ran %s", key);
    for (int i = 0; i < CLIENTS; i++)
        expect(send_line(&clients[i], "once ", key, strlen(key)), "a client cannot speak");
    for (int i = 0; i < CLIENTS; i++)
        expect(hear(&clients[i], line) && strcmp(line, ran) == 0, "a job was not run");
    /* When a client gets an answer, its worker has posted the client's job. When all clients hear "end", all workers
       have handled these jobs, and any result was posted before "end of all". */
    for (int i = 0; i < CLIENTS; i++)
        expect(ask(&clients[i], "hello", line) && strcmp(line, "hello") == 0, "a job was run twice");
    const char *ends[] = {"end", "end of all"}, *heard[] = {"said end", "said end of all"};
    for (int round = 0; round < 2; round++) {
        expect(send_line(&clients[0], "say ", ends[round], strlen(ends[round])), "a client cannot speak");
        for (int i = 0; i < CLIENTS; i++)
            expect(hear(&clients[i], line) && strcmp(line, heard[round]) == 0, "a job was run twice");
    }
}

static int demonstrate(void) {
    struct master master;
    static struct connection clients[CLIENTS];
    char line[LINE];
    int port = begin(&master, NULL, CLIENTS_IN_DEMONSTRATION, 0);
    printf("seqcast-echo: %d workers on 127.0.0.1:%d, %d clients\n", WORKERS, port, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        connect_to(port, &clients[i]);
        expect(ask(&clients[i], "hello", line) && strcmp(line, "hello") == 0, "a line did not come back");
    }
    int heard = check_order(clients);
    check_unique(clients, "nightly");
    printf("seqcast-echo: %d lines said, %d heard, by all clients in one order; the job ran once\n", SAID, heard);

    /* The clients of a killed worker lose their connections. The other workers continue, and a new one replaces it. */
    expect(ask(&clients[0], "pid", line), "a worker does not answer");
    pid_t victim = (pid_t)atoi(line);
    expect(victim > 0 && kill(victim, SIGKILL) == 0 && waitpid(victim, NULL, 0) == victim, "a worker cannot be killed");
    replace(&master, victim);
    int lost = 0;
    for (int i = 0; i < CLIENTS; i++) {
        if (ask(&clients[i], "hello", line))
            continue;
        lost++;
        close(clients[i].fd);
        connect_to(port, &clients[i]);
        expect(ask(&clients[i], "hello", line), "the new worker does not answer");
    }
    expect(lost == CLIENTS_IN_DEMONSTRATION && master.replaced == 1, "another number of clients was lost");
    heard += check_order(clients);
    check_unique(clients, "hourly");
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i].fd);
    stop_workers(&master);

    seqcast_stats *stats;
    uint64_t events, value;
    int living = 0;
    checked(seqcast_bus_next_id(master.bus, &events), "next_id");
    checked(seqcast_bus_stats(master.bus, &stats), "stats");
    for (int row = 1; row < seqcast_stats_rows(stats); row++)
        living += seqcast_stats_get(stats, (size_t)row, "alive", 5, &value) > 0 && value;
    checked(seqcast_stats_free(stats), "free");
    expect(living == 0, "a worker has not left");
    printf("seqcast-echo: workers=%d clients=%d events=%llu heard=%d killed=1 replaced=%d ok\n", WORKERS, CLIENTS,
           (unsigned long long)events, heard, master.replaced);
    checked(seqcast_bus_free(master.bus), "free");
    close(master.listener);
    return 0;
}

int main(int argc, char **argv) {
    /* Line-buffered, so that a child does not inherit buffered lines. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    if (argc == 1)
        return demonstrate();
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "--serve") == 0)
        return serve(atoi(argv[2]), argc == 4 ? argv[3] : NULL);
    fprintf(stderr, "usage: seqcast-echo [--serve PORT [NAME]]\n");
    return 2;
}
