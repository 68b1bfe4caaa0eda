/*
 * seqcast: a lock-free event bus in shared memory for the worker processes of one host.
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
 * A call that fails has no partial effect. seqcast_error_message() then returns what happened, with the values, and
 * what to do.
 *
 * Handles. seqcast_bus *, seqcast_seat * and so on are numbers and do not point to memory. A handle that is null, was
 * freed, is of another kind, or was never returned by the library gives an error. The _free functions accept null.
 *
 * Texts. Texts and bytes are passed as a pointer and a length, and need no zero at their end. The pointer may be null
 * if the length is 0. Names are UTF-8. A function that copies a text copies as much as fits, adds a zero, and returns
 * the length of the whole text without the zero, as snprintf does.
 *
 * Options. An options struct begins with its size. Zero is the default of every field, and a null pointer means all
 * defaults. In C: seqcast_seat_options options = {0}; options.size = sizeof options;
 *
 * Threads. Any number of threads may use a bus, a snapshot, a list or an inspector at the same time. A seat and a
 * tail may move from thread to thread, but only one thread at a time may use them: a second one gets SEQCAST_E_IN_USE.
 *
 * Fork. Open the bus in the master and take seats in each child. In a child, an inherited bus, snapshot, list,
 * inspector or tail works, and an inherited seat gives SEQCAST_E_FORKED. A child's exit and its _free calls do not
 * affect other processes.
 *
 * Signals. Do not call any function from a signal handler.
 *
 * Units. Times are in nanoseconds. Process ids are those of the sender's pid namespace.
 */


#ifndef SEQCAST_H
#define SEQCAST_H

#include <stddef.h>
#include <stdint.h>

// The version of this interface. Do not use this header with a library that returns another `seqcast_abi()`.
typedef enum seqcast_abi_version {
  // Raised when an existing function, struct or number changes. Additions do not raise it.
  SEQCAST_ABI = 0,
} seqcast_abi_version;

// How a bell is notified of posts.
typedef enum seqcast_bell_kind {
  // By inotify: each post that finds a bell armed rings it at once.
  SEQCAST_BELL_INOTIFY = 0,
  // Not at all: it becomes readable at an interval. `seqcast_seat_bell_unheard` copies the reason.
  SEQCAST_BELL_TICK = 1,
  // By a thread that waits for posts.
  SEQCAST_BELL_THREAD = 2,
  // In a way that this interface does not know.
  SEQCAST_BELL_OTHER = 3,
} seqcast_bell_kind;

// The kind of a claim. Each kind has keys of its own.
typedef enum seqcast_claim_kind {
  // A claim without an event, by `seqcast_seat_claim`.
  SEQCAST_CLAIM_ALONE = 0,
  // A claim for unique events.
  SEQCAST_CLAIM_EVENT = 1,
  // A kind that this interface does not know.
  SEQCAST_CLAIM_OTHER = 2,
} seqcast_claim_kind;

// Results of `seqcast_seat_claim`.
typedef enum seqcast_claimed {
  // Another seat holds the key.
  SEQCAST_CLAIM_HELD = 0,
  // This seat has claimed the key.
  SEQCAST_CLAIM_WON = 1,
  // The claims have no room for the key. Raise `claims`.
  SEQCAST_CLAIM_FULL = 2,
} seqcast_claimed;

// The state of the seat that won a key.
typedef enum seqcast_winner {
  // A process that runs or is stopped holds the seat.
  SEQCAST_WINNER_ALIVE = 0,
  // The holder has died, and no process has taken the seat since.
  SEQCAST_WINNER_DEAD = 1,
  // The holder has left, or another process has the seat since.
  SEQCAST_WINNER_GONE = 2,
} seqcast_winner;

// Results of calls that fail. These numbers never change, and new errors get new numbers. `seqcast_error_message`
// returns the text with the values and the remedy.
typedef enum seqcast_error {
  // The name is not valid for a segment.
  SEQCAST_E_NAME = -1,
  // An option or argument has an invalid value.
  SEQCAST_E_OPTION = -2,
  // A source or event name is empty or longer than 255 bytes.
  SEQCAST_E_TOPIC = -3,
  // The source `seqcast` is reserved for the library.
  SEQCAST_E_LIBRARY_SOURCE = -4,
  // A typed Rust value was posted with another topic than that of its type. Not from C.
  SEQCAST_E_TYPED_TOPIC = -5,
  // No segment has this name.
  SEQCAST_E_NOT_FOUND = -6,
  // A segment of this name exists already.
  SEQCAST_E_EXISTS = -7,
  // The name belongs to a file that seqcast did not create.
  SEQCAST_E_FOREIGN = -8,
  // The segment is not finished: its creator died or is still at work.
  SEQCAST_E_UNFINISHED = -9,
  // Another process is creating the segment and has not finished in time.
  SEQCAST_E_BUSY = -10,
  // The segment has a layout that this version does not know.
  SEQCAST_E_LAYOUT = -11,
  // The segment was created by a build with another memory layout.
  SEQCAST_E_FINGERPRINT = -12,
  // The segment was created before the host booted, or in a container with another boot id.
  SEQCAST_E_OTHER_BOOT = -13,
  // The segment belongs to another user.
  SEQCAST_E_OWNER = -14,
  // The segment's mode gives access to more users than the options allow.
  SEQCAST_E_MODE = -15,
  // The segment exists with other options than those that were set, and `strict` was set.
  SEQCAST_E_OPTIONS_DIFFER = -16,
  // The segment is smaller than its header says.
  SEQCAST_E_TRUNCATED = -17,
  // The system does not let this process open the segment.
  SEQCAST_E_DENIED = -18,
  // There is not enough shared memory for the segment.
  SEQCAST_E_NO_SPACE = -19,
  // The process may not create files of the segment's size.
  SEQCAST_E_FILE_LIMIT = -20,
  // A control group does not allow the process so much memory.
  SEQCAST_E_MEMORY_LIMIT = -21,
  // Signals kept interrupting the creation of the segment.
  SEQCAST_E_INTERRUPTED = -22,
  // The directory of shared memory is missing, or cannot hold a segment.
  SEQCAST_E_NO_SHARED_MEMORY = -23,
  // The file system of shared memory is mounted read-only.
  SEQCAST_E_READ_ONLY = -24,
  // The file system of shared memory has no room for one more file.
  SEQCAST_E_NO_INODES = -25,
  // The segment's file has more than one name.
  SEQCAST_E_LINKED = -26,
  // The segment's file has pages without memory.
  SEQCAST_E_HOLES = -27,
  // The name no longer leads to this segment.
  SEQCAST_E_REPLACED = -28,
  // Every seat is taken. The text lists the holders.
  SEQCAST_E_NO_SEAT = -29,
  // Code of this process has closed the segment's descriptor, and it cannot be opened again.
  SEQCAST_E_DESCRIPTOR = -30,
  // Another process has taken this seat, because its lock was lost.
  SEQCAST_E_DISPLACED = -31,
  // The seat was taken before the fork. Take one in the child.
  SEQCAST_E_FORKED = -32,
  // The payload does not fit.
  SEQCAST_E_PAYLOAD_TOO_LARGE = -33,
  // The id to start at is not posted yet.
  SEQCAST_E_NOT_YET = -34,
  // The position belongs to another bus: the segment was created again.
  SEQCAST_E_OTHER_BUS = -35,
  // The reserved id was given up before the commit.
  SEQCAST_E_TOO_LATE = -36,
  // A payload is not a value of its Rust type. Not from C.
  SEQCAST_E_PAYLOAD = -37,
  // A Rust value could not be archived. Not from C.
  SEQCAST_E_ARCHIVE = -38,
  // The segment's words contradict each other.
  SEQCAST_E_CORRUPT = -39,
  // A counter that must never repeat has reached its end.
  SEQCAST_E_EXHAUSTED = -40,
  // The seat has left the bus.
  SEQCAST_E_LEFT = -41,
  // The process has already configured its worker. Not from C.
  SEQCAST_E_ALREADY_CONFIGURED = -42,
  // The process has not configured its worker yet. Not from C.
  SEQCAST_E_NOT_CONFIGURED = -43,
  // The thread of a poller panicked. Not from C.
  SEQCAST_E_POLLER_PANICKED = -44,
  // A system call failed. `seqcast_error_errno` returns its number.
  SEQCAST_E_SYSTEM = -45,
  // Posts do not ring a bell. `seqcast_seat_bell_unheard` copies the text. No call returns this number.
  SEQCAST_E_UNHEARD = -46,
  // Other code of the process has closed a descriptor of the bell.
  SEQCAST_E_BELL_CLOSED = -47,
  // Typed values on the bus have another format than those of this program. Not from C.
  SEQCAST_E_TYPED_FORMAT = -48,
  // The claim to renew or complete has ended. The text says which seat and process hold its key now.
  SEQCAST_E_CLAIM_LOST = -49,
  // There is no place for the key of a retained event. Clear keys that are no longer needed, or raise
  // `retained_keys`.
  SEQCAST_E_RETAINED_FULL = -50,
  // The event would have overwritten what a seat that must read lacks, and was not posted. `seqcast_error_full`
  // returns which seat that is. Post again later; a seat that must read itself has to read first.
  SEQCAST_E_FULL = -51,
  // An event is for all hosts, but no relay has been started on this host, or the last one has left.
  SEQCAST_E_NO_RELAY = -52,
  // Another process is the relay of this segment. Not from C.
  SEQCAST_E_RELAY_TAKEN = -53,
  // The relay has no place to remember a further host. Not from C.
  SEQCAST_E_RELAY_FULL = -54,
  // An argument that must not be null is null.
  SEQCAST_E_NULL = -1001,
  // A handle was freed, is of another kind, or was never returned by the library.
  SEQCAST_E_HANDLE = -1002,
  // Another thread is inside a call with this handle.
  SEQCAST_E_IN_USE = -1003,
  // The library panicked, which is a bug in it. The seat or tail of that call can only be freed.
  SEQCAST_E_PANIC = -1004,
  // A text is not UTF-8.
  SEQCAST_E_TEXT = -1005,
  // The `size` of an options struct is not set, or the struct sets an option that this library does not know.
  SEQCAST_E_SIZE = -1006,
  // The seat only posts.
  SEQCAST_E_NOT_A_READER = -1007,
  // The process has 65,536 handles of one kind.
  SEQCAST_E_TOO_MANY_HANDLES = -1008,
  // The seat has no bell: `seqcast_seat_bell` makes one.
  SEQCAST_E_NO_BELL = -1009,
} seqcast_error;

// The kind of a delivery.
typedef enum seqcast_kind {
  // There is nothing new.
  SEQCAST_NOTHING = 0,
  // An event.
  SEQCAST_EVENT = 1,
  // `missed` ids from `id` on were overwritten before this seat read them. State that is built from events must be
  // rebuilt. `cut_off` is set if posts had waited for this seat.
  SEQCAST_LAGGED = 2,
  // The next id, `id`, is reserved and its payload is not visible yet. Later events are delivered after it. No
  // action is needed: call again later, or wait.
  SEQCAST_RESERVED = 3,
  // A unique event at `id` that is not delivered to this seat, because it is unknown if another seat has run it.
  // `reason` tells why.
  SEQCAST_UNDECIDED = 4,
  // The content at `id` was not written by seqcast. It is skipped.
  SEQCAST_UNREADABLE = 5,
  // A kind that this interface does not know. No action is needed.
  SEQCAST_OTHER = 6,
  // No event is retained under this topic and `retained_key` any more: it was cleared, or its ttl has ended. Only a
  // seat that is being brought up to date is told that a ttl has ended. There is no payload.
  SEQCAST_CLEARED = 7,
  // Everything that this seat knows of retained events is void. All retained events follow, and then
  // `SEQCAST_UP_TO_DATE`. Live events continue at `id`.
  SEQCAST_RESET = 8,
  // This seat has received every retained event that it lacked, after it joined with `SEQCAST_START_RETAINED`, or
  // after it missed events and has `resync`. Live events continue at `id`.
  SEQCAST_UP_TO_DATE = 9,
  // `missed` events were lost between hosts, as the relay reports at `id`; 0 if the number is not known. State that
  // is built from events must be rebuilt. `missed_reason` tells why, and `origin` of which host they were, if
  // `has_origin` is set.
  SEQCAST_MISSED = 10,
} seqcast_kind;

// Why events were lost between hosts.
typedef enum seqcast_missed_reason {
  // The reason is unknown, or nothing was lost between hosts.
  SEQCAST_MISSED_OTHER = 0,
  // The stream between the hosts was trimmed before this host's relay read it.
  SEQCAST_MISSED_TRIMMED = 2,
  // The events were overwritten in the ring of their own host before its relay read them.
  SEQCAST_MISSED_ORIGIN_LAPPED = 3,
  // This host's relay had been away for so long that it went to the end of the stream.
  SEQCAST_MISSED_CATCH_UP = 4,
  // The engine between the hosts has lost data.
  SEQCAST_MISSED_ENGINE_LOST = 5,
  // A unique request waited for longer than its ttl, and no host ran it.
  SEQCAST_MISSED_UNDECIDED = 6,
  // An event was larger than what a relay sends or a segment takes.
  SEQCAST_MISSED_TOO_LARGE = 7,
  // An event had a format that this host does not read.
  SEQCAST_MISSED_FORMAT = 8,
} seqcast_missed_reason;

// Why it is unknown if a unique event has run.
typedef enum seqcast_reason {
  // The reason is unknown.
  SEQCAST_REASON_OTHER = 0,
  // The claims have no room for its key. Raise `claims`.
  SEQCAST_REASON_CLAIMS_FULL = 1,
  // This seat reached the event too late to know if another seat has run it. Read more often, or raise the ttl.
  SEQCAST_REASON_LATE = 2,
} seqcast_reason;

// The kind of a step of a tail.
typedef enum seqcast_seen_kind {
  // There is nothing new.
  SEQCAST_SEEN_NOTHING = 0,
  // An event.
  SEQCAST_SEEN_EVENT = 1,
  // `missed` ids from `id` on were overwritten before they were read.
  SEQCAST_SEEN_GAP = 2,
  // An id that was reserved and never became an event.
  SEQCAST_SEEN_VOID = 3,
  // A reserved id without a payload in time. It may still become an event.
  SEQCAST_SEEN_PASSED_OVER = 4,
  // The last fragment of an event whose beginning was missed.
  SEQCAST_SEEN_HEADLESS = 5,
  // The content at `id` was not written by seqcast.
  SEQCAST_SEEN_UNREADABLE = 6,
  // A kind that this interface does not know.
  SEQCAST_SEEN_OTHER = 7,
  // `missed` events were lost between hosts, as the relay reports at `id`; 0 if the number is not known.
  SEQCAST_SEEN_MISSED = 8,
} seqcast_seen_kind;

// Where a seat or a tail begins to read.
typedef enum seqcast_start_at {
  // At the event that is posted next.
  SEQCAST_START_NOW = 0,
  // At the oldest event that the ring still holds.
  SEQCAST_START_OLDEST = 1,
  // At the event id `start_id`.
  SEQCAST_START_AT = 2,
  // After the event id `start_id`, to continue where a reader of the same bus stopped.
  SEQCAST_START_AFTER = 3,
  // At the position `start_position`, which `seqcast_seat_position` copied.
  SEQCAST_START_RESUME = 4,
  // As `SEQCAST_START_NOW`, but the seat first gets the last retained event of every key, in the order of their ids,
  // and then a delivery of the kind `SEQCAST_UP_TO_DATE`. A tail gets none of these.
  SEQCAST_START_RETAINED = 5,
} seqcast_start_at;

// A process's handle on a segment. Any number of threads may use it at the same time. A forked child may use it, too.
typedef struct seqcast_bus seqcast_bus;

// A list of claims. It does not change, and any number of threads may read it at the same time.
typedef struct seqcast_claim_list seqcast_claim_list;

// A read-only view of a segment. It takes no seat and does not affect the workers.
typedef struct seqcast_inspector seqcast_inspector;

// A list of retained events. It does not change, and any number of threads may read it at the same time.
typedef struct seqcast_retained_list seqcast_retained_list;

// A place on the bus, to read and to post. One thread at a time may use it. Threads that post at the same time take
// one seat each.
typedef struct seqcast_seat seqcast_seat;

// A snapshot of a segment's figures. Row 0 is the segment. Each further row is a live worker, or a dead worker whose
// seat was not taken again.
typedef struct seqcast_stats seqcast_stats;

// A reader of all events that takes no seat, for one thread at a time. It may miss events, because writers never wait
// for it.
typedef struct seqcast_tail seqcast_tail;

// The values of `SEQCAST_E_FULL`.
typedef struct seqcast_full {
  // How many ids the slowest seat that must read is behind.
  uint64_t lag;
  // How long other posts wait for it.
  uint64_t patience_ns;
  // The number of the seat.
  uint32_t seat;
  // The process id of its holder, in its own pid namespace.
  uint32_t pid;
  // 1 if it is the seat that wanted to post: it has to read first.
  int32_t own;
  // 0.
  int32_t reserved;
  // The label of the seat, with a zero at its end.
  char label[56];
  // Zero.
  uint64_t more[4];
} seqcast_full;

// Options to create or open a segment. Set all bytes to zero, then set `size` and the options that you need.
//
// Sizes are used when a segment is created. An existing segment keeps its own: see `strict` and
// `seqcast_bus_differences`.
typedef struct seqcast_bus_options {
  // `sizeof(seqcast_bus_options)`.
  size_t size;
  // How many events the ring holds: a power of two from 8 to 524,288. 0 means 8192.
  uint64_t capacity;
  // Bytes of a block: the size of the largest event that is not fragmented, from 64 to 1,048,576. 0 means 288.
  uint64_t block_size;
  // How many unique keys can be held at once: at most 1,048,576. 0 means 8192.
  uint64_t claims;
  // How many seats there are: at most 65,536. Choose at least twice the expected number of workers, because old and
  // new workers are on the bus together during a reload. 0 means 64.
  uint64_t seats;
  // How long to wait for another process that is creating the segment, in nanoseconds. 0 means 5 seconds.
  uint64_t creation_timeout_ns;
  // Permission bits of a new segment, and the widest that an existing one may have. 0 means 0600.
  uint32_t mode;
  // If not 0, a new segment is given to `owner_uid` and `owner_gid`, and an existing one may belong to that user,
  // too.
  int32_t set_owner;
  // The user id for `set_owner`.
  uint32_t owner_uid;
  // The group id for `set_owner`.
  uint32_t owner_gid;
  // If not 0, opening an existing segment with other options than those set here fails with
  // `SEQCAST_E_OPTIONS_DIFFER`.
  int32_t strict;
  // If not 0, the name is unlinked when the bus that created the segment is freed in the process that created it.
  int32_t unlink_on_free;
  // If not 0, this process's core dumps contain the segment.
  int32_t dump;
  // Must be 0.
  int32_t reserved;
  // How many keys can have a retained event at the same time: at most 262,144. 0 means 64. -1 means none: no event
  // can be retained.
  int64_t retained_keys;
  // Bytes of the largest retained event, with its names, its key and 48 bytes more: from 64 to 1,048,576. 0 means
  // the block size.
  uint64_t retained_size;
  // How many large blocks there are, for payloads that do not fit in a block: a power of two from 2 to 524,288. 0
  // means none.
  uint64_t large_blocks;
  // Bytes of the largest payload of a large block, from 64 to 67,108,864. Must be set if `large_blocks` is.
  uint64_t large_size;
  // The longest time for which a seat may have posts wait for it, in nanoseconds: at most an hour. See
  // `must_read_ns` of `seqcast_seat_options`. 0 means 1 second. -1 means that posts wait for no seat.
  int64_t most_patience_ns;
  // Of how many hosts a relay can remember what has come from them: at most 65,536. 0 means 256. -1 means none:
  // there can be no relay.
  int64_t relay_hosts;
} seqcast_bus_options;

// Options of a seat. Set all bytes to zero, then set `size` and the options that you need.
typedef struct seqcast_seat_options {
  // `sizeof(seqcast_seat_options)`.
  size_t size;
  // A name that `seqcast top` and figures show. It is truncated to 48 bytes. Null means none.
  const char *label;
  // Bytes of `label`.
  size_t label_len;
  // For `SEQCAST_START_AT` and `SEQCAST_START_AFTER`.
  uint64_t start_id;
  // For `SEQCAST_START_RESUME`.
  const char *start_position;
  // Bytes of `start_position`.
  size_t start_position_len;
  // The sleep between two checks of a reserved id, in nanoseconds. 0 means 10 milliseconds.
  uint64_t wait_interval_ns;
  // How long to wait for a reserved id before giving it up for all seats, in nanoseconds. 0 means 500 milliseconds.
  uint64_t wait_max_ns;
  // How long a unique key is held if the post sets no ttl, in nanoseconds. 0 means 2 seconds.
  uint64_t timeout_ns;
  // A `seqcast_start_at`.
  int32_t start;
  // If not 0, the events `seqcast/started` and `seqcast/stopping` are not posted.
  int32_t silent;
  // If not 0, the seat is brought up to date after it has missed events: after `SEQCAST_LAGGED` it gets the last
  // retained event of every key of which it has missed that, and what was cleared, and then `SEQCAST_UP_TO_DATE`. If
  // it is no longer known what was cleared, `SEQCAST_RESET` comes first, and then the last event of every key.
  int32_t resync;
  // Must be 0.
  int32_t reserved;
  // If not 0, posts of other seats wait for this seat, each for at most this time, in nanoseconds: no event is
  // overwritten before this seat has read it. At most `most_patience_ns` of the segment, and longer than
  // `wait_max_ns`. 0 means that this seat misses events if it falls a whole ring behind.
  //
  // A post that has waited for this long cuts the seat off: it may miss events, and is told so by `SEQCAST_LAGGED`
  // with `cut_off`. From its next read on, posts wait for it again. A dead holder delays no post, and a stopped one
  // delays the others once. Posts of this seat itself never wait: without room they give `SEQCAST_E_FULL` at once,
  // and it has to read first.
  uint64_t must_read_ns;
} seqcast_seat_options;

// Options of a bell. Set all bytes to zero, then set `size` and the options that you need.
typedef struct seqcast_bell_options {
  // `sizeof(seqcast_bell_options)`.
  size_t size;
  // The longest time after which the bell becomes readable, whether it was rung or not, in nanoseconds. 0 means 1
  // second.
  uint64_t interval_ns;
  // The interval of a bell that cannot be rung, in nanoseconds. 0 means 10 milliseconds.
  uint64_t tick_ns;
  // If not 0, a thread waits for posts and rings the bell, for systems without inotify.
  int32_t thread;
  // Must be 0.
  int32_t reserved;
} seqcast_bell_options;

// The right to run a unique key until its ttl ends. It is plain data: it may be copied and stored.
typedef struct seqcast_claim {
  // Opaque to the caller.
  uint64_t words[3];
} seqcast_claim;

// A key that is held.
typedef struct seqcast_held {
  // The time for which it is still held.
  uint64_t left_ns;
  // The time since it was won.
  uint64_t since_ns;
  // The seat that won it.
  uint32_t seat;
  // The process id of the seat's holder, in its own pid namespace; 0 if the winner is gone.
  uint32_t pid;
  // A `seqcast_winner`.
  int32_t winner;
  // 1 if the claim ends with its holder, possibly before `left_ns`.
  int32_t ends_with_holder;
  // The label of the seat, with a zero at its end; empty if the winner is gone.
  char label[56];
  // Zero.
  uint64_t reserved[4];
} seqcast_held;

// Options of a post. Set all bytes to zero, then set `size` and the options that you need.
typedef struct seqcast_post_options {
  // `sizeof(seqcast_post_options)`.
  size_t size;
  // The type of the payload, for readers that know the tag. 0 means bytes.
  uint64_t type_tag;
  // If not null, the event is unique: at most one worker runs it, and no worker runs a later event with this key
  // until the ttl ends. A key has at least 1 byte.
  const char *key;
  // Bytes of `key`.
  size_t key_len;
  // How long the key is held, in nanoseconds, from when the first worker reaches the event. 0 means the seat's
  // timeout. For a retained event, how long it is retained. 0 means without an end.
  uint64_t ttl_ns;
  // The key of a retained event, of at most 255 bytes: one event is retained for each topic and key. Null means
  // none.
  const char *retain_key;
  // Bytes of `retain_key`.
  size_t retain_key_len;
  // If not 0, the event is retained: it is kept as the last one of its topic and `retain_key`, until a later one
  // takes its place, `seqcast_seat_clear` clears it, or its ttl ends. It cannot be unique. It cannot be committed
  // at a reserved id.
  int32_t retain;
  // Must be 0.
  int32_t reserved;
  // If not 0, the event is delivered on all hosts of the cluster, this one included, at one place in one order that
  // all of them share. A unique event then runs on one seat of the cluster, and a retained one is retained on every
  // host. The stored id is that of the request to the relay; the event gets another one when it is delivered.
  // Without a relay on this host the post gives `SEQCAST_E_NO_RELAY`. It cannot be committed at a reserved id.
  int32_t cluster;
  // Must be 0.
  int32_t reserved_2;
} seqcast_post_options;

// A delivery. The library fills it. Later versions add fields at its end.
//
// It and the memory that it points to are valid until the next call of `seqcast_seat_next`, `_next_before`, `_leave`
// or `_free` with the seat. Posts and claims do not change them. No pointer in it is null. Texts have no zero at their
// end.
typedef struct seqcast_delivery {
  // A `seqcast_kind`.
  int32_t kind;
  // 1 if this process posted the event or, for `SEQCAST_RESERVED`, if this seat reserved the id. Otherwise 0.
  int32_t own;
  // The process id of the sender, in its own pid namespace.
  uint32_t pid;
  // The number of the sender's seat.
  uint32_t seat;
  // The event's id, which is its place in the total order. For other kinds, the id that they report.
  uint64_t id;
  // How many ids were missed.
  uint64_t missed;
  // The sender's tag for the type of the payload. 0 for bytes.
  uint64_t type_tag;
  // The source of the event, in UTF-8.
  const char *source;
  // Bytes of `source`.
  size_t source_len;
  // The name of the event, in UTF-8.
  const char *event;
  // Bytes of `event`.
  size_t event_len;
  // The payload.
  const void *payload;
  // Bytes of `payload`.
  size_t payload_len;
  // 1 if the event is unique: only this seat runs it, and `claim` is its claim.
  int32_t unique;
  // For `SEQCAST_UNDECIDED`, a `seqcast_reason`.
  int32_t reason;
  // The claim of a unique event. `seqcast_seat_release` releases it, so that the next event with the same key can
  // run before the ttl ends.
  struct seqcast_claim claim;
  // The key of a retained event or, for `SEQCAST_CLEARED`, the key that was cleared. It may be any bytes.
  const char *retained_key;
  // Bytes of `retained_key`. 0 if the event is retained by its topic alone.
  size_t retained_key_len;
  // 1 if the event was posted with `retain` or, for `SEQCAST_CLEARED`, is no longer retained.
  int32_t retained;
  // 1 if the event was not delivered when it was posted, but is the last of its key for a seat that has joined or
  // missed events.
  int32_t handed_over;
  // For `SEQCAST_LAGGED`, 1 if this seat must read, and a post had waited for it for all of its patience.
  int32_t cut_off;
  // For `SEQCAST_MISSED`, a `seqcast_missed_reason`.
  int32_t missed_reason;
  // 1 if a relay has posted the event: `origin`, `cluster_timeline` and `cluster_n` are set. For `SEQCAST_MISSED`, 1
  // if `origin` is set.
  int32_t has_origin;
  // 1 if a bridge has carried the event from another segment.
  int32_t bridged;
  // The host that posted the event, as `seqcast_bus_origin` returns it there.
  uint64_t origin;
  // The number of the timeline of the order that all hosts share.
  uint64_t cluster_timeline;
  // The event's place in this timeline. Timeline and place together can be passed to a resource as a fencing token:
  // of two unique events with one key, the later one has the greater pair, unless the engine between the hosts has
  // lost data.
  uint64_t cluster_n;
} seqcast_delivery;

// A topic: a source and the name of an event.
typedef struct seqcast_topic {
  // The source.
  const char *source;
  // Bytes of `source`.
  size_t source_len;
  // The name of the event.
  const char *event;
  // Bytes of `event`.
  size_t event_len;
} seqcast_topic;

// A text.
typedef struct seqcast_text {
  // Its bytes.
  const char *data;
  // The number of bytes.
  size_t len;
} seqcast_text;

// A retained event: the last one of its topic and key. The library fills it. Later versions add fields at its end. No
// pointer in it is null. Texts have no zero at their end.
typedef struct seqcast_retained {
  // The event's id.
  uint64_t id;
  // The sender's tag for the type of the payload. 0 for bytes.
  uint64_t type_tag;
  // The time that was left of its ttl, in nanoseconds. `UINT64_MAX` if it has no ttl.
  uint64_t left_ns;
  // The source of the event, in UTF-8.
  const char *source;
  // Bytes of `source`.
  size_t source_len;
  // The name of the event, in UTF-8.
  const char *event;
  // Bytes of `event`.
  size_t event_len;
  // The key that the event is retained under. It may be any bytes.
  const char *key;
  // Bytes of `key`. 0 if the event is retained by its topic alone.
  size_t key_len;
  // The payload.
  const void *payload;
  // Bytes of `payload`.
  size_t payload_len;
  // The process id of the sender, in its own pid namespace.
  uint32_t pid;
  // The number of the sender's seat.
  uint32_t seat;
} seqcast_retained;

// Options of a tail. Set all bytes to zero, then set `size` and the options that you need.
typedef struct seqcast_tail_options {
  // `sizeof(seqcast_tail_options)`.
  size_t size;
  // For `SEQCAST_START_AT` and `SEQCAST_START_AFTER`.
  uint64_t start_id;
  // For `SEQCAST_START_RESUME`.
  const char *start_position;
  // Bytes of `start_position`.
  size_t start_position_len;
  // How long to wait at a reserved id before skipping it, in nanoseconds. 0 means 500 milliseconds.
  uint64_t patience_ns;
  // A `seqcast_start_at`.
  int32_t start;
  // If not 0, payloads are copied and shown.
  int32_t payloads;
} seqcast_tail_options;

// A step of a tail. The library fills it. Later versions add fields at its end. It and the memory that it points to
// are valid until the next call with the tail. No pointer in it is null. Texts have no zero at their end.
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
  // The source of the event. It may be any bytes.
  const char *source;
  // Bytes of `source`.
  size_t source_len;
  // The name of the event. It may be any bytes.
  const char *event;
  // Bytes of `event`.
  size_t event_len;
  // The size of the event's payload in bytes.
  uint64_t len;
  // The payload, if `payloads` was set.
  const void *payload;
  // Bytes at `payload`. 0 if `payloads` was not set.
  size_t payload_len;
  // 1 if the payload is in a large block.
  int32_t large;
  // 0.
  int32_t reserved;
  // The key of a retained event. It may be any bytes.
  const char *retained_key;
  // Bytes of `retained_key`. 0 if the event is retained by its topic alone.
  size_t retained_key_len;
  // How long the event is retained or, if it is unique, how long its key is held, in nanoseconds. 0 without an end,
  // and for other events.
  uint64_t ttl_ns;
  // 1 if the event is retained, or clears what was retained.
  int32_t retained;
  // 1 if the event clears what was retained under its topic and `retained_key`.
  int32_t clears;
  // 1 if this is a request to the relay for an event on all hosts. No seat gets it.
  int32_t request;
  // For `SEQCAST_SEEN_MISSED`, a `seqcast_missed_reason`.
  int32_t missed_reason;
  // 1 if a relay has posted the event: the fields below are set. For `SEQCAST_SEEN_MISSED`, 1 if `origin` is set.
  int32_t has_origin;
  // 0.
  int32_t reserved_2;
  // The host that posted the event, as `seqcast_bus_origin` returns it there.
  uint64_t origin;
  // The event's id on that host.
  uint64_t origin_id;
  // The number of the timeline of the order that all hosts share.
  uint64_t cluster_timeline;
  // The event's place in this timeline.
  uint64_t cluster_n;
} seqcast_seen;

// A key that is held, or whose last decision the segment remembers. The library fills it. Later versions add fields at
// its end.
typedef struct seqcast_claim_entry {
  // The hash of the key, in 32 hexadecimal digits and a zero: see `seqcast_bus_key_hash`.
  char key_hash[40];
  // The time until the key is free. 0 if it is free: its ttl is over, it was released, or it ended with its holder.
  uint64_t left_ns;
  // The time since the key was won.
  uint64_t since_ns;
  // The first id of the key's events that are decided. 0 for a claim without an event.
  uint64_t first_id;
  // The last id of the key's events that are decided. 0 for a claim without an event.
  uint64_t last_id;
  // The claim. If the holder is dead, `seqcast_seat_release` releases it in its place. If the key has been claimed
  // again since, that does nothing.
  struct seqcast_claim claim;
  // A `seqcast_claim_kind`.
  int32_t kind;
  // A `seqcast_winner`.
  int32_t winner;
  // The seat that won the key.
  uint32_t seat;
  // The process id of the seat's holder, in its own pid namespace; 0 if the winner is gone.
  uint32_t pid;
  // 1 if the claim ends with its holder, possibly before `left_ns`.
  int32_t ends_with_holder;
  // 0.
  int32_t reserved;
  // The label of the seat, with a zero at its end; empty if the winner is gone.
  char label[56];
} seqcast_claim_entry;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the `SEQCAST_ABI` of the library. Compare it with that of the header.
uint32_t seqcast_abi(void);

// Copies the version of the library, such as `0.1.0`. Returns the length of the text.
int seqcast_version(char *buffer, size_t capacity);

// Returns the text of this thread's last failure: what happened, with the values, and what to do. Never returns null.
// The text is empty if no call has failed, and valid until the next call of this thread that fails.
const char *seqcast_error_message(void);

// Returns the `errno` of the system call that caused this thread's last failure, or 0 if it had another cause.
int seqcast_error_errno(void);

// Stores the values of this thread's last failure in `full`, if that was `SEQCAST_E_FULL`: which seat has no room for
// the post. Returns 1, or 0 if the last failure was another one; then `full` is unchanged.
int seqcast_error_full(struct seqcast_full *full);

// Copies a short, stable name of the error `result`, such as `not_found`, for logs and metrics. Copies `unknown` for a
// number that is not an error.
int seqcast_error_code(int result,
                       char *buffer,
                       size_t capacity);

// Creates the segment `name` and opens it. A name consists of 1 to 200 of the characters `A-Z a-z 0-9 . _ -`, with or
// without a leading slash. `options` may be null. Returns 0.
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

// Opens the segment `name`, or creates it if there is none. Concurrent callers all get the same segment. Returns 0.
// `seqcast_bus_was_created` tells if this call created it.
int seqcast_bus_open_or_create(const char *name,
                               size_t name_len,
                               const struct seqcast_bus_options *options,
                               struct seqcast_bus **out);

// Creates a segment without a name, for this process and the processes that it forks. It ends with the last of them.
// Returns 0.
int seqcast_bus_anonymous(const struct seqcast_bus_options *options,
                          struct seqcast_bus **out);

// Frees the handle. The segment stays, unless `unlink_on_free` was set. Seats that were taken on the bus stay valid.
// Returns 0, also for null.
int seqcast_bus_free(struct seqcast_bus *bus);

// Copies the segment's name, with its slash.
int seqcast_bus_name(const struct seqcast_bus *bus, char *buffer, size_t capacity);

// Copies the identity of the bus: 32 hexadecimal digits, which are different for each segment ever created.
int seqcast_bus_id(const struct seqcast_bus *bus,
                   char *buffer,
                   size_t capacity);

// Stores the segment's name among the hosts of a cluster, as deliveries and lost events report it. Its text form is 16
// hexadecimal digits, which are the first of those that `seqcast_bus_id` copies. A segment that was created again has
// another origin. Returns 0.
int seqcast_bus_origin(const struct seqcast_bus *bus,
                       uint64_t *origin);

// Copies the options in which the existing segment differs from those given to `seqcast_bus_open_or_create`, such as
// `capacity is 1024, not 4096`, separated by commas. Returns 0 if there are none.
int seqcast_bus_differences(const struct seqcast_bus *bus,
                            char *buffer,
                            size_t capacity);

// Returns 1 if the call that returned this handle created the segment, 0 if it opened an existing one.
int seqcast_bus_was_created(const struct seqcast_bus *bus);

// Returns 1 if the name still leads to this segment, 0 if the segment was unlinked, even if one with this name was
// created again.
int seqcast_bus_is_current(const struct seqcast_bus *bus);

// Stores the next id to be posted. Returns 0.
int seqcast_bus_next_id(const struct seqcast_bus *bus, uint64_t *id);

// Stores how many events the ring holds. Returns 0.
int seqcast_bus_capacity(const struct seqcast_bus *bus, uint64_t *events);

// Stores the size of the largest event in bytes, which includes its names and up to 63 bytes
// more. Returns 0.
int seqcast_bus_largest_event(const struct seqcast_bus *bus, uint64_t *bytes);

// Removes the segment's name. Processes that have it open continue to use it. Other processes can no longer open it.
// Returns 0.
int seqcast_bus_unlink(const struct seqcast_bus *bus);

// Frees the handle, and removes the segment's name if no handle on it is left in any process. Independent processes
// that each call this at their end leave no segment behind. Returns 1 if this call removed the name. Returns 0 if the
// name stays, because the segment is in use or the name leads to another one.
//
// Bus handles and seats count as handles, also those that a forked child has inherited: free them first. Inspectors
// and tails do not count, nor do the handles of a killed process. Only the segment's owner and root can remove a name
// this way. Another user gets an error. Every error frees the handle, except for `SEQCAST_E_IN_USE`.
int seqcast_bus_unlink_if_last(struct seqcast_bus *bus);

// Removes the name `name` if it leads to a segment of seqcast. Returns 0.
int seqcast_unlink(const char *name, size_t name_len);

// Removes the segment `name` if no process has it open for writing. Use it to clean up after processes that died.
// Returns 1 if it was removed, 0 if it is in use.
int seqcast_unlink_unheld(const char *name,
                          size_t name_len);

// Takes a seat that reads and posts. `options` may be null. Returns 0. Take it after the fork: a child cannot use its
// parent's seat.
int seqcast_bus_subscribe(const struct seqcast_bus *bus,
                          const struct seqcast_seat_options *options,
                          struct seqcast_seat **out);

// Takes a seat that only posts, claims and reserves. Only the options `label` and `timeout_ns` are used. Returns
// 0.
int seqcast_bus_publisher(const struct seqcast_bus *bus,
                          const struct seqcast_seat_options *options,
                          struct seqcast_seat **out);

// Leaves the bus, if `seqcast_seat_leave` was not called, and frees the handle. In a forked child, only frees the
// child's memory. Returns 0, also for null. Returns `SEQCAST_E_IN_USE` and frees nothing if another thread is inside a
// call with the seat.
int seqcast_seat_free(struct seqcast_seat *seat);

// Leaves the bus: posts `seqcast/stopping` and frees the place on the bus. Afterwards, `seqcast_seat_next` returns the
// unique events that the seat has already claimed while it waited for a reserved id, because no other seat runs them.
// Every other call returns `SEQCAST_E_LEFT`. The handle must still be freed. Returns 0.
int seqcast_seat_leave(struct seqcast_seat *seat);

// Returns the number of the seat.
int seqcast_seat_number(struct seqcast_seat *seat);

// Makes a descriptor that is readable as long as the seat may have something to read, for epoll, poll, libuv and other
// event loops, and stores it. A second call stores the same descriptor and ignores its options. `options` may be null.
// Returns 0.
//
// When the descriptor is readable, and once at the beginning, read until `seqcast_seat_next` returns 0, then call
// `seqcast_seat_arm`. Wait for readability only, level-triggered or edge-triggered. The descriptor belongs to the
// seat: do not read from it, and do not close it. `seqcast_seat_leave` and `_free` close it: remove it from the event
// loop first.
int seqcast_seat_bell(struct seqcast_seat *seat,
                      const struct seqcast_bell_options *options,
                      int *fd);

// Prepares the event loop's sleep. Returns 1 if there is something to read: read on and call it again. Returns 0 if
// the loop may sleep: the bell becomes readable as soon as there is something to read. After `SEQCAST_E_BELL_CLOSED`,
// the seat has no bell any more, and `seqcast_seat_bell` makes another.
int seqcast_seat_arm(struct seqcast_seat *seat);

// Returns how the seat's bell is notified of posts: a `seqcast_bell_kind`.
int seqcast_seat_bell_kind(struct seqcast_seat *seat);

// Copies the reason why posts do not ring the seat's bell. Returns 0 if they do.
int seqcast_seat_bell_unheard(struct seqcast_seat *seat, char *buffer, size_t capacity);

// Claims `key` among all seats for `ttl_ns` nanoseconds. Returns a `seqcast_claimed`; compare it with
// `SEQCAST_CLAIM_WON`.
//
// If the claim is won, `*claim` is set, to release it. If the key is held, `*left_ns` is set to the time until the key
// is free, and `*holder` to the number of the holder's seat. `left_ns` and `holder` may be null.
int seqcast_seat_claim(struct seqcast_seat *seat,
                       const char *key,
                       size_t key_len,
                       uint64_t ttl_ns,
                       struct seqcast_claim *claim,
                       uint64_t *left_ns,
                       uint32_t *holder);

// Like `seqcast_seat_claim`, but the claim also ends with its holder: when the process has ended, even by SIGKILL, or
// the seat has left or was freed, the next claim of the key wins without waiting for the ttl.
int seqcast_seat_claim_for_life(struct seqcast_seat *seat,
                                const char *key,
                                size_t key_len,
                                uint64_t ttl_ns,
                                struct seqcast_claim *claim,
                                uint64_t *left_ns,
                                uint32_t *holder);

// Holds the key of a claim for `ttl_ns` nanoseconds from now on. Returns 0. `SEQCAST_E_CLAIM_LOST` means that the
// claim has ended: stop the work that it protects. The text says which seat and process hold the key now.
int seqcast_seat_renew(struct seqcast_seat *seat,
                       const struct seqcast_claim *claim,
                       uint64_t ttl_ns);

// Completes a claim, when its work is done: the key stays held for `ttl_ns` nanoseconds from now on, even if its
// holder ends. Returns 0. Errors are those of `seqcast_seat_renew`.
int seqcast_seat_complete(struct seqcast_seat *seat,
                          const struct seqcast_claim *claim,
                          uint64_t ttl_ns);

// Returns 1 if a claim still holds its key, and stores the nanoseconds that are left. Returns 0 if it has ended.
// `left_ns` may be null.
int seqcast_seat_claim_left(struct seqcast_seat *seat,
                            const struct seqcast_claim *claim,
                            uint64_t *left_ns);

// Looks up a key that is claimed without an event, and claims nothing. Returns 1 if it is held, and fills `held`,
// which may be null. Returns 0 if it is free.
int seqcast_bus_held(const struct seqcast_bus *bus,
                     const char *key,
                     size_t key_len,
                     struct seqcast_held *held);

// Copies the hash of a key that is claimed without an event: 32 hexadecimal digits, as a list of claims and the event
// `seqcast/died` name it. The segment does not contain the key itself, and each segment has other hashes.
int seqcast_bus_key_hash(const struct seqcast_bus *bus,
                         const char *key,
                         size_t key_len,
                         char *buffer,
                         size_t capacity);

// Ends a claim before its ttl, also the claim of a unique event. Any seat of the bus may do so. Returns 1, or 0 if the
// claim had already ended.
int seqcast_seat_release(struct seqcast_seat *seat,
                         const struct seqcast_claim *claim);

// Makes the seat's bell, if it has none, and starts a thread that sends a byte to `socket` each time the bell becomes
// readable. This is for event loops that can only wait for their own sockets, such as Lua's in nginx. `options` are
// those of `seqcast_seat_bell`. Returns 0.
//
// When a byte arrives, and once at the beginning, read until `seqcast_seat_next` returns 0, then call
// `seqcast_seat_arm`. The thread sends without waiting: if the socket has no room, it has unread bytes already. The
// library duplicates the descriptor `socket`. A second call makes the thread send to another socket instead. The
// thread ends with the bell. If other code of the process closes one of the thread's descriptors, `seqcast_seat_arm`
// returns `SEQCAST_E_BELL_CLOSED`, and a call of this function starts the thread again.
int seqcast_seat_forward(struct seqcast_seat *seat,
                         const struct seqcast_bell_options *options,
                         int socket);

// Posts an event to all seats. `options` may be null. `payload` may be null if `payload_len` is 0. If `id` is not
// null, the event's id is stored there. Returns 0. After an error, no seat sees the event.
//
// For a retained event, `SEQCAST_E_RETAINED_FULL` means that its key has no place, and `SEQCAST_E_OPTION` that the
// segment retains no events.
//
// If there are seats that must read, the call waits until there is room, for at most the patience of the slowest.
int seqcast_seat_post(struct seqcast_seat *seat,
                      const char *source,
                      size_t source_len,
                      const char *event,
                      size_t event_len,
                      const void *payload,
                      size_t payload_len,
                      const struct seqcast_post_options *options,
                      uint64_t *id);

// As `seqcast_seat_post`, but never waits for seats that must read: gives `SEQCAST_E_FULL` instead. For event loops.
int seqcast_seat_try_post(struct seqcast_seat *seat,
                          const char *source,
                          size_t source_len,
                          const char *event,
                          size_t event_len,
                          const void *payload,
                          size_t payload_len,
                          const struct seqcast_post_options *options,
                          uint64_t *id);

// Takes the next event id and stores it, for an event whose payload is not known yet. Readers that reach the id wait
// for at most their `wait_max_ns`, and deliver later events after it. A seat holds one reservation: a second call
// gives the first id up, and so does leaving. Waits for seats that must read, as `seqcast_seat_post` does. Returns 0.
int seqcast_seat_reserve(struct seqcast_seat *seat,
                         uint64_t *id);

// As `seqcast_seat_reserve`, but never waits for seats that must read: gives `SEQCAST_E_FULL` instead.
int seqcast_seat_try_reserve(struct seqcast_seat *seat,
                             uint64_t *id);

// Makes the event visible at the reserved id. It must fit into one block or one large block. Returns 0.
// `SEQCAST_E_TOO_LATE` means that the id was given up, and no seat sees the event. After another error the id stays
// reserved, and the call can be repeated.
int seqcast_seat_commit(struct seqcast_seat *seat,
                        uint64_t id,
                        const char *source,
                        size_t source_len,
                        const char *event,
                        size_t event_len,
                        const void *payload,
                        size_t payload_len,
                        const struct seqcast_post_options *options);

// Gives up a reserved id. Returns 1, or 0 if the id was no longer reserved.
int seqcast_seat_abandon(struct seqcast_seat *seat, uint64_t id);

// Takes the next delivery. If there is nothing new, waits for at most `timeout_ns` nanoseconds: 0 never waits,
// `UINT64_MAX` waits without limit. Signals do not end the wait.
//
// Returns 1 if there is something to handle, 0 if not. `*out` is the delivery; see its `kind`. Also returns 0 at a
// reserved id, so that `while ((result = seqcast_seat_next(seat, 0, &delivery)) > 0)` ends.
int seqcast_seat_next(struct seqcast_seat *seat,
                      uint64_t timeout_ns,
                      const struct seqcast_delivery **out);

// As `seqcast_seat_next` with the timeout 0, but takes only deliveries with an id less than `end`, and those that
// bring the seat up to date. If `end` is the next id of the bus before a loop, the loop ends however fast other
// workers post, and does not deliver what its own handlers post.
int seqcast_seat_next_before(struct seqcast_seat *seat,
                             uint64_t end,
                             const struct seqcast_delivery **out);

// Sleeps until `seqcast_seat_next` may return something else than before, for at most `timeout_ns` nanoseconds.
// Returns 1 if there is something new, 0 if not. Signals do not end the wait.
int seqcast_seat_wait(struct seqcast_seat *seat,
                      uint64_t timeout_ns);

// Sets how long the seat waits for a reserved id before it gives the id up for all seats, in nanoseconds. Returns 0.
int seqcast_seat_set_wait_max(struct seqcast_seat *seat,
                              uint64_t wait_max_ns);

// Delivers only events of `topics` from now on. Payloads of other events are not copied, and other unique events are
// left to other seats. A topic without an event name means all events of its source, and a topic that is all zero
// means every event. If `count` is 0, no event is delivered. Returns 0.
int seqcast_seat_only(struct seqcast_seat *seat,
                      const struct seqcast_topic *topics,
                      size_t count);

// Delivers only events of `sources` from now on, as `seqcast_seat_only` does for topics. Returns 0.
int seqcast_seat_only_sources(struct seqcast_seat *seat,
                              const struct seqcast_text *sources,
                              size_t count);

// Stores the next id to be delivered. Returns 0.
int seqcast_seat_cursor(struct seqcast_seat *seat, uint64_t *id);

// Copies the seat's position, to continue there later with `SEQCAST_START_RESUME`.
int seqcast_seat_position(struct seqcast_seat *seat, char *buffer, size_t capacity);

// Looks up the retained event of a topic and a key. `key` may be null if `key_len` is 0, for an event that is retained
// by its topic alone. Returns 1, and `*out` is the event. Returns 0, and `*out` is null, if no event is retained
// there: none was posted, it was cleared, or its ttl has ended.
//
// The event is a private copy. It is valid until the next call of `seqcast_seat_get` or `_free` with the seat. Posts
// and deliveries do not change it. On a segment that retains no events the call gives `SEQCAST_E_OPTION`.
int seqcast_seat_get(struct seqcast_seat *seat,
                     const char *source,
                     size_t source_len,
                     const char *event,
                     size_t event_len,
                     const char *key,
                     size_t key_len,
                     const struct seqcast_retained **out);

// Clears the retained event of a topic and a key, by an event that tells all seats so: `SEQCAST_CLEARED`. `key` may be
// null if `key_len` is 0. Returns 1. If `id` is not null, the id of that event is stored there. Returns 0 if no event
// is retained there; then nothing is posted. Waits for seats that must read, as `seqcast_seat_post` does.
int seqcast_seat_clear(struct seqcast_seat *seat,
                       const char *source,
                       size_t source_len,
                       const char *event,
                       size_t event_len,
                       const char *key,
                       size_t key_len,
                       uint64_t *id);

// As `seqcast_seat_clear`, but never waits for seats that must read: gives `SEQCAST_E_FULL` instead.
int seqcast_seat_try_clear(struct seqcast_seat *seat,
                           const char *source,
                           size_t source_len,
                           const char *event,
                           size_t event_len,
                           const char *key,
                           size_t key_len,
                           uint64_t *id);

// Clears the retained event of a topic and a key on all hosts of the cluster, by a request to this host's relay,
// whatever is retained here. Returns 1. If `id` is not null, the id of the request is stored there. Without a relay
// it gives `SEQCAST_E_NO_RELAY`.
int seqcast_seat_clear_cluster(struct seqcast_seat *seat,
                               const char *source,
                               size_t source_len,
                               const char *event,
                               size_t event_len,
                               const char *key,
                               size_t key_len,
                               uint64_t *id);

// Lists the retained event of every topic and key, in the order of their ids, and stores the handle of the list.
// Returns 0.
int seqcast_seat_retained(struct seqcast_seat *seat,
                          struct seqcast_retained_list **out);

// Returns the number of events of a list.
int seqcast_retained_list_count(const struct seqcast_retained_list *list);

// Stores event `index` of a list, counted from 0. It is valid until the list is freed. Returns 1, or 0 if there are no
// more events.
int seqcast_retained_list_at(const struct seqcast_retained_list *list,
                             size_t index,
                             const struct seqcast_retained **out);

// Frees a list. Returns 0, also for null.
int seqcast_retained_list_free(struct seqcast_retained_list *list);

// Stores a snapshot of the bus's figures. Returns 0.
int seqcast_bus_stats(const struct seqcast_bus *bus, struct seqcast_stats **out);

// Frees a snapshot. Returns 0, also for null.
int seqcast_stats_free(struct seqcast_stats *stats);

// Returns the number of rows: 1 for the segment, and 1 for each worker.
int seqcast_stats_rows(const struct seqcast_stats *stats);

// Copies the worker's label or, for row 0, the segment's name.
int seqcast_stats_label(const struct seqcast_stats *stats,
                        size_t row,
                        char *buffer,
                        size_t capacity);

// Stores the figure `name` of a row, such as `next_id` of row 0 or `posted` of a worker. Returns 1. Returns 0 if the
// row has no such figure: the name is unknown, or there is no value, such as the `cursor` of a seat that only posts.
int seqcast_stats_get(const struct seqcast_stats *stats,
                      size_t row,
                      const char *name,
                      size_t name_len,
                      uint64_t *value);

// Stores the name and the value of figure `index` of a row, counted from 0. The name ends with a zero and is valid
// until the snapshot is freed. Names of times end in `_ns`. Returns 1, or 0 if there are no more figures.
int seqcast_stats_at(const struct seqcast_stats *stats,
                     size_t row,
                     size_t index,
                     const char **name,
                     uint64_t *value);

// Opens the segment `name` for inspection, with any owner and mode. Returns 0.
int seqcast_inspector_open(const char *name, size_t name_len, struct seqcast_inspector **out);

// Frees an inspector. Its tails stay valid. Returns 0, also for null.
int seqcast_inspector_free(struct seqcast_inspector *inspector);

// Stores a snapshot of the segment's figures. Returns 0.
int seqcast_inspector_stats(const struct seqcast_inspector *inspector, struct seqcast_stats **out);

// Returns 1 if the name still leads to this segment, 0 if not.
int seqcast_inspector_is_current(const struct seqcast_inspector *inspector);

// Makes a tail. `options` may be null. Returns 0.
int seqcast_inspector_tail(const struct seqcast_inspector *inspector,
                           const struct seqcast_tail_options *options,
                           struct seqcast_tail **out);

// Lists the retained events of the segment, as `seqcast_seat_retained` does. Returns 0.
int seqcast_inspector_retained(const struct seqcast_inspector *inspector,
                               struct seqcast_retained_list **out);

// Takes the next step. Never waits. Returns 1 if there is something new. Returns 0 if there is nothing new or the next
// id is reserved. `*out` is the step.
int seqcast_tail_next(struct seqcast_tail *tail,
                      const struct seqcast_seen **out);

// Frees a tail. Returns 0, also for null.
int seqcast_tail_free(struct seqcast_tail *tail);

// Copies the names of all segments of this host that this user may read, with their slash, separated by newlines.
int seqcast_names(char *buffer,
                  size_t capacity);

// Lists the keys that are held, and those whose last decision the segment remembers, in no particular order. Stores
// the handle of the list. Returns 0.
int seqcast_inspector_claims(const struct seqcast_inspector *inspector,
                             struct seqcast_claim_list **out);

// Returns the number of claims of a list.
int seqcast_claim_list_count(const struct seqcast_claim_list *list);

// Stores claim `index` of a list, counted from 0. It is valid until the list is freed. Returns 1, or 0 if there are no
// more claims.
int seqcast_claim_list_at(const struct seqcast_claim_list *list,
                          size_t index,
                          const struct seqcast_claim_entry **out);

// Frees a list. Returns 0, also for null.
int seqcast_claim_list_free(struct seqcast_claim_list *list);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SEQCAST_H */
