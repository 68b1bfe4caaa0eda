/*
 * seqcast: events between the worker processes of one host, through shared memory, without a broker or locks.
 *
 *     seqcast_bus *bus;                                    // in the master, before it forks
 *     seqcast_bus_open_or_create("my-server", 9, NULL, &bus);
 *
 *     seqcast_seat *seat;                                  // in each worker process
 *     seqcast_bus_subscribe(bus, NULL, &seat);
 *     seqcast_seat_post(seat, "cache", 5, "stale", 5, "user:42", 7, NULL, NULL);
 *
 *     const seqcast_delivery *delivery;                    // on every request, or in a loop with a timeout
 *     while (seqcast_seat_next(seat, 0, &delivery) > 0)
 *         if (delivery->kind == SEQCAST_EVENT)
 *             printf("%.*s\n", (int)delivery->event_len, delivery->event);
 *
 * Results. A function that returns int returns 0 or more if it succeeds, and a negative seqcast_error if it fails.
 * After a failure nothing is half done, and seqcast_error_message() says what happened, with the values, and what to
 * do.
 *
 * Handles. seqcast_bus *, seqcast_seat * and the like are numbers and lead to no memory. One that is null, was
 * freed, is of another kind or is none at all gives an error. The _free functions take null.
 *
 * Texts and bytes are passed as a pointer and a length, and need no zero at their end. The pointer may be null if
 * the length is 0. Names are UTF-8. A function that copies a text copies as much as fits with a zero behind it, and
 * returns the length of the whole text without the zero, as snprintf does.
 *
 * Options. A struct of options begins with its size; zero is the default of every field, and a null pointer means
 * all defaults. In C: seqcast_seat_options options = {0}; options.size = sizeof options;
 *
 * Threads. A bus, a snapshot and an inspector are for any number of threads at the same time. A seat and a tail may
 * move from thread to thread, but are for one at a time: a second one gets SEQCAST_E_IN_USE.
 *
 * Fork. Open the bus in the master and take seats in each child. With what it inherits, a child gets
 * SEQCAST_E_FORKED from a seat; a bus, a snapshot, an inspector and a tail work. A child's exit and its _free calls
 * disturb no other process.
 *
 * Signals. No function may be called from a signal handler.
 *
 * Times are nanoseconds. Process ids are those of the sender's pid namespace.
 */


#ifndef SEQCAST_H
#define SEQCAST_H

#include <stddef.h>
#include <stdint.h>

// The version of this interface. A library whose `seqcast_abi()` is another one must not be used with this header.
typedef enum seqcast_abi_version {
  // Raised when an existing function, struct or number changes. What is new does not raise it.
  SEQCAST_ABI = 0,
} seqcast_abi_version;

// How a bell hears of posts.
typedef enum seqcast_bell_kind {
  // By inotify: each post that finds a bell armed rings it at once.
  SEQCAST_BELL_INOTIFY = 0,
  // Not at all: it becomes readable at an interval. `seqcast_seat_bell_unheard` says why.
  SEQCAST_BELL_TICK = 1,
  // By a thread that waits for posts.
  SEQCAST_BELL_THREAD = 2,
  // In a way that this interface does not know.
  SEQCAST_BELL_OTHER = 3,
} seqcast_bell_kind;

// What `seqcast_seat_claim` returns.
typedef enum seqcast_claimed {
  // Another seat holds the key.
  SEQCAST_CLAIM_HELD = 0,
  // The key is this seat's.
  SEQCAST_CLAIM_WON = 1,
  // The claims have no room for the key: raise `claims`.
  SEQCAST_CLAIM_FULL = 2,
} seqcast_claimed;

// What a call returns if it fails: these numbers never change, and new errors get new ones. `seqcast_error_message`
// has the text with the values and the remedy.
typedef enum seqcast_error {
  // The name cannot name a segment.
  SEQCAST_E_NAME = -1,
  // An option or argument is outside what is possible.
  SEQCAST_E_OPTION = -2,
  // A source or event name is empty or longer than 255 bytes.
  SEQCAST_E_TOPIC = -3,
  // The source `seqcast` is the library's own.
  SEQCAST_E_LIBRARY_SOURCE = -4,
  // A typed Rust value was posted under another topic than its type's. Not from C.
  SEQCAST_E_TYPED_TOPIC = -5,
  // No segment has this name.
  SEQCAST_E_NOT_FOUND = -6,
  // A segment of this name exists already.
  SEQCAST_E_EXISTS = -7,
  // The name belongs to something that seqcast did not make.
  SEQCAST_E_FOREIGN = -8,
  // The segment's creator died, or is still at work, before it was finished.
  SEQCAST_E_UNFINISHED = -9,
  // Another process is creating the segment and has not finished in time.
  SEQCAST_E_BUSY = -10,
  // The segment has a layout that this version does not know.
  SEQCAST_E_LAYOUT = -11,
  // The segment was made by a build that lays out memory differently.
  SEQCAST_E_FINGERPRINT = -12,
  // The segment was made before the host was started, or in a container that has a boot id of its own.
  SEQCAST_E_OTHER_BOOT = -13,
  // The segment belongs to another user.
  SEQCAST_E_OWNER = -14,
  // The segment's mode lets in more users than the options do.
  SEQCAST_E_MODE = -15,
  // The segment exists with other options than those that were set, and `strict` was.
  SEQCAST_E_OPTIONS_DIFFER = -16,
  // The segment is smaller than its header says.
  SEQCAST_E_TRUNCATED = -17,
  // The system does not let this process open the segment.
  SEQCAST_E_DENIED = -18,
  // There is not enough shared memory for the segment.
  SEQCAST_E_NO_SPACE = -19,
  // The process may not make files of the segment's size.
  SEQCAST_E_FILE_LIMIT = -20,
  // A control group does not allow the process so much memory.
  SEQCAST_E_MEMORY_LIMIT = -21,
  // Signals kept interrupting the creation of the segment.
  SEQCAST_E_INTERRUPTED = -22,
  // The directory of shared memory is missing, or cannot hold a segment.
  SEQCAST_E_NO_SHARED_MEMORY = -23,
  // The file system of shared memory is mounted for reading only.
  SEQCAST_E_READ_ONLY = -24,
  // The file system of shared memory has no room for one more file.
  SEQCAST_E_NO_INODES = -25,
  // The segment's file has more names than one.
  SEQCAST_E_LINKED = -26,
  // The segment's file does not have all of its memory.
  SEQCAST_E_HOLES = -27,
  // The name does not lead to this segment any more.
  SEQCAST_E_REPLACED = -28,
  // Every seat is taken. The text lists who holds them.
  SEQCAST_E_NO_SEAT = -29,
  // This process has closed the descriptor of its segment.
  SEQCAST_E_DESCRIPTOR = -30,
  // Another process has taken this seat, as its lock was lost.
  SEQCAST_E_DISPLACED = -31,
  // The seat was taken before this process was forked off: take one in the child.
  SEQCAST_E_FORKED = -32,
  // The payload does not fit.
  SEQCAST_E_PAYLOAD_TOO_LARGE = -33,
  // The id to start at has not been posted yet.
  SEQCAST_E_NOT_YET = -34,
  // A kept position is of another bus: the segment of this name was created again since.
  SEQCAST_E_OTHER_BUS = -35,
  // The reserved id was given up before the commit came.
  SEQCAST_E_TOO_LATE = -36,
  // A payload is not what its Rust type says. Not from C.
  SEQCAST_E_PAYLOAD = -37,
  // A Rust value could not be archived. Not from C.
  SEQCAST_E_ARCHIVE = -38,
  // The segment's words contradict each other.
  SEQCAST_E_CORRUPT = -39,
  // A counter that must never repeat has come to its end.
  SEQCAST_E_EXHAUSTED = -40,
  // The seat has left the bus.
  SEQCAST_E_LEFT = -41,
  // The process has configured its worker already. Not from C.
  SEQCAST_E_ALREADY_CONFIGURED = -42,
  // The process has not configured its worker yet. Not from C.
  SEQCAST_E_NOT_CONFIGURED = -43,
  // The thread of a poller panicked. Not from C.
  SEQCAST_E_POLLER_PANICKED = -44,
  // A system call failed: `seqcast_error_errno` has its number.
  SEQCAST_E_SYSTEM = -45,
  // A bell is not rung by posts. `seqcast_seat_bell_unheard` has its text; no call returns it.
  SEQCAST_E_UNHEARD = -46,
  // Other code of the process has closed a descriptor of the bell.
  SEQCAST_E_BELL_CLOSED = -47,
  // Typed values on the bus have another format than this program's. Not from C.
  SEQCAST_E_TYPED_FORMAT = -48,
  // An argument is null that must not be.
  SEQCAST_E_NULL = -1001,
  // A handle was freed, is of another kind, or never was one.
  SEQCAST_E_HANDLE = -1002,
  // Another thread is inside a call with this handle.
  SEQCAST_E_IN_USE = -1003,
  // The library panicked, which is a bug of it. A seat that it happened to can only be freed.
  SEQCAST_E_PANIC = -1004,
  // A text is not UTF-8.
  SEQCAST_E_TEXT = -1005,
  // The `size` of an options struct is not set, or the struct asks for something that this library does not know.
  SEQCAST_E_SIZE = -1006,
  // The seat only posts.
  SEQCAST_E_NOT_A_READER = -1007,
  // The process has 65,536 handles of one kind.
  SEQCAST_E_TOO_MANY_HANDLES = -1008,
  // The seat has no bell: `seqcast_seat_bell` makes one.
  SEQCAST_E_NO_BELL = -1009,
} seqcast_error;

// What a delivery is.
typedef enum seqcast_kind {
  // There is nothing new.
  SEQCAST_NOTHING = 0,
  // An event.
  SEQCAST_EVENT = 1,
  // `missed` ids from `id` on were overwritten before this seat read them: rebuild what depends on them.
  SEQCAST_LAGGED = 2,
  // The next id, `id`, is reserved and its payload is not there yet. What follows it is delivered after it. Nothing
  // is to be done: call again later, or wait.
  SEQCAST_RESERVED = 3,
  // A unique event at `id` that this seat did not run, for `reason`: it cannot be known whether it was run before.
  SEQCAST_UNDECIDED = 4,
  // What is at `id` was not written by seqcast, and was left out.
  SEQCAST_UNREADABLE = 5,
  // Something that this interface does not know. Nothing is to be done.
  SEQCAST_OTHER = 6,
} seqcast_kind;

// Why a unique event was not run.
typedef enum seqcast_reason {
  // It is not known.
  SEQCAST_REASON_OTHER = 0,
  // The claims have no room for its key: raise `claims`.
  SEQCAST_REASON_CLAIMS_FULL = 1,
  // This seat reached it too late to know whether another ran it: read more often, or raise the ttl.
  SEQCAST_REASON_LATE = 2,
} seqcast_reason;

// What a tail came upon.
typedef enum seqcast_seen_kind {
  // There is nothing new.
  SEQCAST_SEEN_NOTHING = 0,
  // An event.
  SEQCAST_SEEN_EVENT = 1,
  // `missed` ids from `id` on were overwritten before they were read.
  SEQCAST_SEEN_GAP = 2,
  // An id that was reserved and never became an event.
  SEQCAST_SEEN_VOID = 3,
  // An id that is reserved, and whose payload did not come in time. It may still become an event.
  SEQCAST_SEEN_PASSED_OVER = 4,
  // The last fragment of an event whose beginning was missed.
  SEQCAST_SEEN_HEADLESS = 5,
  // What is at `id` was not written by seqcast.
  SEQCAST_SEEN_UNREADABLE = 6,
  // Something that this interface does not know.
  SEQCAST_SEEN_OTHER = 7,
} seqcast_seen_kind;

// Where a seat or a tail begins to read.
typedef enum seqcast_start_at {
  // At what is posted next.
  SEQCAST_START_NOW = 0,
  // At the oldest event that the ring still holds.
  SEQCAST_START_OLDEST = 1,
  // At the event id `start_id`.
  SEQCAST_START_AT = 2,
  // After the event id `start_id`: to go on where a reader was, on the same bus.
  SEQCAST_START_AFTER = 3,
  // Where a reader was, as `seqcast_seat_position` said it: `start_position`.
  SEQCAST_START_RESUME = 4,
} seqcast_start_at;

// A process's handle on a segment. Any number of threads may use it at the same time, and so may a forked child.
typedef struct seqcast_bus seqcast_bus;

// A segment that is mapped for reading only. It takes no seat, and no worker notices it.
typedef struct seqcast_inspector seqcast_inspector;

// A place on the bus, by which one thread at a time reads and posts. Threads that post at the same time take one each.
typedef struct seqcast_seat seqcast_seat;

// A snapshot of a segment's figures. Row 0 is the segment; each further row is a worker that lives, or one that died
// and whose seat was not taken since.
typedef struct seqcast_stats seqcast_stats;

// A reader of all events that takes no seat, for one thread at a time. It may miss events: no writer waits for it.
typedef struct seqcast_tail seqcast_tail;

// How a segment is made, and what an existing one must be like. Set everything to zero, then `size`, then what
// matters.
//
// Sizes count when a segment is created. An existing one keeps its own: see `strict` and `seqcast_bus_differences`.
typedef struct seqcast_bus_options {
  // `sizeof(seqcast_bus_options)`.
  size_t size;
  // Events that the ring holds: a power of two from 8 to 524,288. 0: 8192.
  uint64_t capacity;
  // Bytes of a block, which is the largest event in one piece: 64 to 1,048,576. 0: 288.
  uint64_t block_size;
  // Unique keys that can be held at once: up to 1,048,576. 0: 8192.
  uint64_t claims;
  // Seats: up to 65,536; at least twice what is expected, since a reload has old and new workers. 0: 64.
  uint64_t seats;
  // How long to wait for another process that is creating the segment, in nanoseconds. 0: 5 seconds.
  uint64_t creation_timeout_ns;
  // Permission bits of a new segment, and the widest that an existing one may have. 0: 0600.
  uint32_t mode;
  // Not 0: a new segment is given to `owner_uid` and `owner_gid`, and an existing one may belong to that user too.
  int32_t set_owner;
  // The user id for `set_owner`.
  uint32_t owner_uid;
  // The group id for `set_owner`.
  uint32_t owner_gid;
  // Not 0: opening an existing segment with other options than those set here is `SEQCAST_E_OPTIONS_DIFFER`.
  int32_t strict;
  // Not 0: the name is unlinked when the bus that created the segment is freed, in the process that created it.
  int32_t unlink_on_free;
  // Not 0: the segment is a part of this process's core dumps.
  int32_t dump;
  // 0.
  int32_t reserved;
} seqcast_bus_options;

// How a seat behaves. Set everything to zero, then `size`, then what matters.
typedef struct seqcast_seat_options {
  // `sizeof(seqcast_seat_options)`.
  size_t size;
  // A name for tools that look at the segment; what is beyond 48 bytes is cut off. Null: none.
  const char *label;
  // Bytes of `label`.
  size_t label_len;
  // For `SEQCAST_START_AT` and `SEQCAST_START_AFTER`.
  uint64_t start_id;
  // For `SEQCAST_START_RESUME`.
  const char *start_position;
  // Bytes of `start_position`.
  size_t start_position_len;
  // How long to sleep between two looks at a reserved id, in nanoseconds. 0: 10 milliseconds.
  uint64_t wait_interval_ns;
  // How long to wait for a reserved id before it is given up for all, in nanoseconds. 0: 500 milliseconds.
  uint64_t wait_max_ns;
  // How long a unique key is held if the post does not say, in nanoseconds. 0: 2 seconds.
  uint64_t timeout_ns;
  // A `seqcast_start_at`.
  int32_t start;
  // Not 0: the events `seqcast/started` and `seqcast/stopping` are not posted.
  int32_t silent;
} seqcast_seat_options;

// How a bell behaves. Set everything to zero, then `size`, then what matters.
typedef struct seqcast_bell_options {
  // `sizeof(seqcast_bell_options)`.
  size_t size;
  // The longest time between two looks, whether the bell was rung or not, in nanoseconds. 0: 1 second.
  uint64_t interval_ns;
  // The time between two looks of a bell that cannot be rung, in nanoseconds. 0: 10 milliseconds.
  uint64_t tick_ns;
  // Not 0: a thread waits for posts and rings, for systems without inotify.
  int32_t thread;
  // 0.
  int32_t reserved;
} seqcast_bell_options;

// The right to run a unique key until its ttl is over. Plain data: it may be copied and kept.
typedef struct seqcast_claim {
  // What the library knows it by.
  uint64_t words[3];
} seqcast_claim;

// What more is said of an event than its names and payload. Set everything to zero, then `size`, then what matters.
typedef struct seqcast_post_options {
  // `sizeof(seqcast_post_options)`.
  size_t size;
  // The type of the payload, for readers that know the tag. 0: bytes.
  uint64_t type_tag;
  // Not null: the event is unique. At most one worker runs it, and none runs a later one with this key until the
  // ttl is over. It has at least 1 byte.
  const char *key;
  // Bytes of `key`.
  size_t key_len;
  // How long the key is held, in nanoseconds, from when the first worker reaches the event. 0: the seat's timeout.
  uint64_t ttl_ns;
} seqcast_post_options;

// What a seat is given. The library fills it; later versions add fields at its end.
//
// It and what it leads to are valid until the next call of `seqcast_seat_next`, `_next_before`, `_leave` or `_free`
// with the seat; a post or a claim leaves them alone. No pointer in it is null. Texts do not end with a zero.
typedef struct seqcast_delivery {
  // A `seqcast_kind`.
  int32_t kind;
  // 1 if this process posted the event; of `SEQCAST_RESERVED`: if this seat reserved the id. Otherwise 0.
  int32_t own;
  // The process id of the sender, in its own pid namespace.
  uint32_t pid;
  // The number of the sender's seat.
  uint32_t seat;
  // The event's place in the order that all share; of other kinds, the id that they are about.
  uint64_t id;
  // How many ids were missed.
  uint64_t missed;
  // What the payload is, as the sender said; 0 for bytes.
  uint64_t type_tag;
  // What the event is about: UTF-8.
  const char *source;
  // Bytes of `source`.
  size_t source_len;
  // What happened: UTF-8.
  const char *event;
  // Bytes of `event`.
  size_t event_len;
  // The payload.
  const void *payload;
  // Bytes of `payload`.
  size_t payload_len;
  // 1 if the event is unique, and this seat is the only one to run it. Then `claim` is its claim.
  int32_t unique;
  // Of `SEQCAST_UNDECIDED`: a `seqcast_reason`.
  int32_t reason;
  // By it `seqcast_seat_release` lets the next event with the same key run before the ttl is over.
  struct seqcast_claim claim;
} seqcast_delivery;

// A source, or one event of it.
typedef struct seqcast_topic {
  // What the event is about.
  const char *source;
  // Bytes of `source`.
  size_t source_len;
  // What happened.
  const char *event;
  // Bytes of `event`.
  size_t event_len;
} seqcast_topic;

// A text.
typedef struct seqcast_text {
  // Its bytes.
  const char *data;
  // How many there are.
  size_t len;
} seqcast_text;

// How a tail reads. Set everything to zero, then `size`, then what matters.
typedef struct seqcast_tail_options {
  // `sizeof(seqcast_tail_options)`.
  size_t size;
  // For `SEQCAST_START_AT` and `SEQCAST_START_AFTER`.
  uint64_t start_id;
  // For `SEQCAST_START_RESUME`.
  const char *start_position;
  // Bytes of `start_position`.
  size_t start_position_len;
  // How long to wait at a reserved id before it is passed over, in nanoseconds. 0: 500 milliseconds.
  uint64_t patience_ns;
  // A `seqcast_start_at`.
  int32_t start;
  // Not 0: payloads are copied and shown.
  int32_t payloads;
} seqcast_tail_options;

// What a tail came upon. The library fills it; later versions add fields at its end. It and what it leads to are valid
// until the next call with the tail. No pointer in it is null. Texts do not end with a zero.
typedef struct seqcast_seen {
  // A `seqcast_seen_kind`.
  int32_t kind;
  // 1 if the event came in fragments.
  int32_t fragmented;
  // 1 if the event has a unique key.
  int32_t unique;
  // The process id of the sender, in its own pid namespace.
  uint32_t pid;
  // The number of the sender's seat.
  uint32_t seat;
  // 1 if the event was posted with a type tag.
  int32_t typed;
  // The id.
  uint64_t id;
  // How many ids were missed.
  uint64_t missed;
  // What the event is about. It may be any bytes.
  const char *source;
  // Bytes of `source`.
  size_t source_len;
  // What happened. It may be any bytes.
  const char *event;
  // Bytes of `event`.
  size_t event_len;
  // Bytes that the event's payload has.
  uint64_t len;
  // The payload, if the options asked for payloads.
  const void *payload;
  // Bytes at `payload`: 0 if the options did not ask.
  size_t payload_len;
} seqcast_seen;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the `SEQCAST_ABI` of the library, to be compared with that of the header.
uint32_t seqcast_abi(void);

// Copies the version of the library, such as `0.1.0`, as all functions copy texts.
int seqcast_version(char *buffer, size_t capacity);

// Returns the text of this thread's last failure: what happened, with the values, and what to do. It is never null,
// and empty if nothing has failed. It is valid until the next call of this thread that fails.
const char *seqcast_error_message(void);

// Returns the `errno` of the system call that made this thread's last failure, or 0 if it was none.
int seqcast_error_errno(void);

// Copies a short stable name of the error `result`, such as `not_found`, for logs and metrics; `unknown` for a number
// that is no error. Texts are copied as all functions do.
int seqcast_error_code(int result,
                       char *buffer,
                       size_t capacity);

// Creates the segment `name` and opens it. A name has 1 to 200 of the characters `A-Z a-z 0-9 . _ -`; a leading slash
// is added. `options` may be null. Returns 0.
int seqcast_bus_create(const char *name,
                       size_t name_len,
                       const struct seqcast_bus_options *options,
                       struct seqcast_bus **out);

// Opens the segment `name`. Only the options `mode`, `set_owner`, `creation_timeout_ns` and `dump` are used.
// Returns 0.
int seqcast_bus_open(const char *name,
                     size_t name_len,
                     const struct seqcast_bus_options *options,
                     struct seqcast_bus **out);

// Opens the segment `name`, or creates it if there is none. All callers at the same time get the same segment.
// Returns 0; `seqcast_bus_was_created` tells which it was.
int seqcast_bus_open_or_create(const char *name,
                               size_t name_len,
                               const struct seqcast_bus_options *options,
                               struct seqcast_bus **out);

// Creates a segment without a name, for this process and the processes that it forks. It is gone when the last of them
// ends. Returns 0.
int seqcast_bus_anonymous(const struct seqcast_bus_options *options,
                          struct seqcast_bus **out);

// Frees the handle. The segment stays, unless `unlink_on_free` was set; seats that were taken on the bus stay, too.
// Returns 0, also for null.
int seqcast_bus_free(struct seqcast_bus *bus);

// Copies the segment's name, with its slash.
int seqcast_bus_name(const struct seqcast_bus *bus, char *buffer, size_t capacity);

// Copies the identity of the bus: 32 hexadecimal digits, others for each segment that is ever created.
int seqcast_bus_id(const struct seqcast_bus *bus,
                   char *buffer,
                   size_t capacity);

// Copies what `seqcast_bus_open_or_create` was asked for and the existing segment does not have, such as
// `capacity is 1024, not 4096`, with commas between. Returns 0 if there is nothing.
int seqcast_bus_differences(const struct seqcast_bus *bus,
                            char *buffer,
                            size_t capacity);

// Returns 1 if the call that made this handle created the segment, 0 if it opened an existing one.
int seqcast_bus_was_created(const struct seqcast_bus *bus);

// Returns 1 if the name still leads to this segment, 0 if it was unlinked, and perhaps created again, since.
int seqcast_bus_is_current(const struct seqcast_bus *bus);

// Stores the next id to be posted. Returns 0.
int seqcast_bus_next_id(const struct seqcast_bus *bus, uint64_t *id);

// Stores the events that the ring holds. Returns 0.
int seqcast_bus_capacity(const struct seqcast_bus *bus, uint64_t *events);

// Stores the bytes of the largest event, with its names and up to 63 bytes more. Returns 0.
int seqcast_bus_largest_event(const struct seqcast_bus *bus, uint64_t *bytes);

// Removes the segment's name. Processes that have it open go on; no other can open it any more. Returns 0.
int seqcast_bus_unlink(const struct seqcast_bus *bus);

// Removes the name `name`, if it leads to a segment of seqcast's. Returns 0.
int seqcast_unlink(const char *name, size_t name_len);

// Removes the segment `name` if it is proven that no process has it open for writing: to clean up after processes that
// died. Returns 1 if it was removed, 0 if it is in use.
int seqcast_unlink_unheld(const char *name,
                          size_t name_len);

// Takes a seat that reads and posts. `options` may be null. Returns 0. Take it after the fork: a child cannot use what
// its parent took.
int seqcast_bus_subscribe(const struct seqcast_bus *bus,
                          const struct seqcast_seat_options *options,
                          struct seqcast_seat **out);

// Takes a seat that only posts, claims and reserves. Only the options `label` and `timeout_ns` are used. Returns
// 0.
int seqcast_bus_publisher(const struct seqcast_bus *bus,
                          const struct seqcast_seat_options *options,
                          struct seqcast_seat **out);

// Leaves the bus if `seqcast_seat_leave` has not, and frees the handle. In a forked child it frees the child's memory
// and disturbs nobody. Returns 0, also for null; `SEQCAST_E_IN_USE` if another thread is inside a call, and nothing
// is freed.
int seqcast_seat_free(struct seqcast_seat *seat);

// Leaves the bus: posts `seqcast/stopping`, and the place is free for another. Unique events that the seat has
// claimed already, while it waited for a reserved id, are given by `seqcast_seat_next` afterwards, since no other
// seat runs them; every other call gives `SEQCAST_E_LEFT`. The handle is to be freed as before. Returns 0.
int seqcast_seat_leave(struct seqcast_seat *seat);

// Returns the number of the seat.
int seqcast_seat_number(struct seqcast_seat *seat);

// Makes a descriptor that is readable as long as the seat may have something to read, for epoll, poll, libuv and
// other event loops, and stores it. A second call stores the same one, whatever its options. `options` may be null.
// Returns 0.
//
// When it is readable, and once at the beginning, read until `seqcast_seat_next` returns 0, then call
// `seqcast_seat_arm`. Wait for reading only, level- or edge-triggered. The descriptor is the seat's: do not read it,
// and do not close it. `seqcast_seat_leave` and `_free` close it, after the loop was told to forget it.
int seqcast_seat_bell(struct seqcast_seat *seat,
                      const struct seqcast_bell_options *options,
                      int *fd);

// Prepares the sleep of the event loop. Returns 1 if there is something to read after all: read on, and call it again.
// Returns 0 if the loop may sleep: the bell becomes readable as soon as there is something. After
// `SEQCAST_E_BELL_CLOSED` the seat has no bell any more, and `seqcast_seat_bell` makes another.
int seqcast_seat_arm(struct seqcast_seat *seat);

// Returns how the seat's bell hears of posts: a `seqcast_bell_kind`.
int seqcast_seat_bell_kind(struct seqcast_seat *seat);

// Copies why posts do not ring the seat's bell. Returns 0 if they do.
int seqcast_seat_bell_unheard(struct seqcast_seat *seat, char *buffer, size_t capacity);

// Claims `key` among all seats for `ttl_ns` nanoseconds. Returns a `seqcast_claimed`; compare it with
// `SEQCAST_CLAIM_WON`.
//
// If it is won, `*claim` is what releases it. If it is held, `*left_ns` is the time until the key is free, and
// `*holder` the number of the holder's seat. `left_ns` and `holder` may be null.
int seqcast_seat_claim(struct seqcast_seat *seat,
                       const char *key,
                       size_t key_len,
                       uint64_t ttl_ns,
                       struct seqcast_claim *claim,
                       uint64_t *left_ns,
                       uint32_t *holder);

// Ends a claim, or the claim of a unique event, before its ttl does. Any seat of the bus may do so. Returns 1 if it
// did, 0 if the claim had ended.
int seqcast_seat_release(struct seqcast_seat *seat,
                         const struct seqcast_claim *claim);

// Posts an event to all seats. `options` may be null, and so may `payload` if `payload_len` is 0. If `id` is not null
// the event's id is stored there. Returns 0; after an error no seat sees the event.
int seqcast_seat_post(struct seqcast_seat *seat,
                      const char *source,
                      size_t source_len,
                      const char *event,
                      size_t event_len,
                      const void *payload,
                      size_t payload_len,
                      const struct seqcast_post_options *options,
                      uint64_t *id);

// Takes the next event id now and stores it, for an event whose payload comes later. Readers that reach it wait, for
// their `wait_max_ns` at most; what is posted after it is delivered after it. A seat holds one reservation: one that
// it has not committed is given up first, as when it leaves. Returns 0.
int seqcast_seat_reserve(struct seqcast_seat *seat,
                         uint64_t *id);

// Makes the event visible at the reserved id. It must fit one block. Returns 0. `SEQCAST_E_TOO_LATE` says that the id
// was given up before, and no seat sees the event; after another error the reservation stands and can be committed
// again.
int seqcast_seat_commit(struct seqcast_seat *seat,
                        uint64_t id,
                        const char *source,
                        size_t source_len,
                        const char *event,
                        size_t event_len,
                        const void *payload,
                        size_t payload_len,
                        const struct seqcast_post_options *options);

// Gives a reserved id up. Returns 1, or 0 if it was not reserved any more.
int seqcast_seat_abandon(struct seqcast_seat *seat, uint64_t id);

// Takes what comes next, and waits for it up to `timeout_ns` nanoseconds if there is nothing: 0 never waits,
// `UINT64_MAX` waits without end. A signal does not end the wait.
//
// Returns 1 if there is something to handle, 0 if not; `*out` says what it is, by its `kind`. At a reserved id there
// is nothing to handle either, so that `while ((result = seqcast_seat_next(seat, 0, &delivery)) > 0)` ends.
int seqcast_seat_next(struct seqcast_seat *seat,
                      uint64_t timeout_ns,
                      const struct seqcast_delivery **out);

// Like `seqcast_seat_next` without waiting, but takes nothing whose id is `end` or greater: with the next id of the
// bus from before a loop, the loop ends however fast others post, and leaves what its own handlers post for later.
int seqcast_seat_next_before(struct seqcast_seat *seat,
                             uint64_t end,
                             const struct seqcast_delivery **out);

// Sleeps until `seqcast_seat_next` may give something else than before, for at most `timeout_ns` nanoseconds. Returns
// 1 if there is something new, 0 if not. A signal does not end the wait.
int seqcast_seat_wait(struct seqcast_seat *seat,
                      uint64_t timeout_ns);

// Changes how long the seat waits for a reserved id before it is given up for all, to `wait_max_ns` nanoseconds.
// Returns 0.
int seqcast_seat_set_wait_max(struct seqcast_seat *seat,
                              uint64_t wait_max_ns);

// Delivers only events of `topics` from now on: their payloads alone are copied, and only their unique events are
// claimed; none is if `count` is 0. Returns 0.
int seqcast_seat_only(struct seqcast_seat *seat,
                      const struct seqcast_topic *topics,
                      size_t count);

// Delivers only events of `sources` from now on, like `seqcast_seat_only`. Returns 0.
int seqcast_seat_only_sources(struct seqcast_seat *seat,
                              const struct seqcast_text *sources,
                              size_t count);

// Stores the next id to be delivered. Returns 0.
int seqcast_seat_cursor(struct seqcast_seat *seat, uint64_t *id);

// Copies where the seat is, to go on from there later with `SEQCAST_START_RESUME`.
int seqcast_seat_position(struct seqcast_seat *seat, char *buffer, size_t capacity);

// Stores a snapshot of the bus's figures. Returns 0.
int seqcast_bus_stats(const struct seqcast_bus *bus, struct seqcast_stats **out);

// Frees a snapshot. Returns 0, also for null.
int seqcast_stats_free(struct seqcast_stats *stats);

// Returns the number of rows: 1 for the segment, and 1 for each worker.
int seqcast_stats_rows(const struct seqcast_stats *stats);

// Copies the worker's label, or of row 0 the segment's name.
int seqcast_stats_label(const struct seqcast_stats *stats,
                        size_t row,
                        char *buffer,
                        size_t capacity);

// Stores the figure `name` of a row, such as `next_id` of row 0 or `posted` of a worker. Returns 1, or 0 if the row
// has no figure of this name: it is not known, or there is none at the moment, as `cursor` of a seat that only posts.
int seqcast_stats_get(const struct seqcast_stats *stats,
                      size_t row,
                      const char *name,
                      size_t name_len,
                      uint64_t *value);

// Stores the figure of number `index` of a row, from 0: its name, which ends with a zero and is valid until the
// snapshot is freed, and its value. Returns 1, or 0 if there are no more. Names of times end with `_ns`.
int seqcast_stats_at(const struct seqcast_stats *stats,
                     size_t row,
                     size_t index,
                     const char **name,
                     uint64_t *value);

// Opens the segment `name` to look at it, with any owner and mode. Returns 0.
int seqcast_inspector_open(const char *name, size_t name_len, struct seqcast_inspector **out);

// Frees an inspector. Tails that were made with it stay. Returns 0, also for null.
int seqcast_inspector_free(struct seqcast_inspector *inspector);

// Stores a snapshot of the segment's figures. Returns 0.
int seqcast_inspector_stats(const struct seqcast_inspector *inspector, struct seqcast_stats **out);

// Returns 1 if the name still leads to this segment, 0 if not.
int seqcast_inspector_is_current(const struct seqcast_inspector *inspector);

// Makes a reader of all events. `options` may be null. Returns 0.
int seqcast_inspector_tail(const struct seqcast_inspector *inspector,
                           const struct seqcast_tail_options *options,
                           struct seqcast_tail **out);

// Takes what comes next. Never waits. Returns 1 if there is something, 0 if there is nothing new or the next id is
// reserved; `*out` says what, by its `kind`.
int seqcast_tail_next(struct seqcast_tail *tail,
                      const struct seqcast_seen **out);

// Frees a tail. Returns 0, also for null.
int seqcast_tail_free(struct seqcast_tail *tail);

// Copies the names, with their slash and a newline between, of all segments of this host that this user may read.
int seqcast_names(char *buffer,
                  size_t capacity);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SEQCAST_H */
