typedef enum seqcast_abi_version {
  SEQCAST_ABI = 0,
} seqcast_abi_version;

typedef enum seqcast_bell_kind {
  SEQCAST_BELL_INOTIFY = 0,
  SEQCAST_BELL_TICK = 1,
  SEQCAST_BELL_THREAD = 2,
  SEQCAST_BELL_OTHER = 3,
} seqcast_bell_kind;

typedef enum seqcast_claim_kind {
  SEQCAST_CLAIM_ALONE = 0,
  SEQCAST_CLAIM_EVENT = 1,
  SEQCAST_CLAIM_OTHER = 2,
} seqcast_claim_kind;

typedef enum seqcast_claimed {
  SEQCAST_CLAIM_HELD = 0,
  SEQCAST_CLAIM_WON = 1,
  SEQCAST_CLAIM_FULL = 2,
} seqcast_claimed;

typedef enum seqcast_winner {
  SEQCAST_WINNER_ALIVE = 0,
  SEQCAST_WINNER_DEAD = 1,
  SEQCAST_WINNER_GONE = 2,
} seqcast_winner;

typedef enum seqcast_error {
  SEQCAST_E_NAME = -1,
  SEQCAST_E_OPTION = -2,
  SEQCAST_E_TOPIC = -3,
  SEQCAST_E_LIBRARY_SOURCE = -4,
  SEQCAST_E_TYPED_TOPIC = -5,
  SEQCAST_E_NOT_FOUND = -6,
  SEQCAST_E_EXISTS = -7,
  SEQCAST_E_FOREIGN = -8,
  SEQCAST_E_UNFINISHED = -9,
  SEQCAST_E_BUSY = -10,
  SEQCAST_E_LAYOUT = -11,
  SEQCAST_E_FINGERPRINT = -12,
  SEQCAST_E_OTHER_BOOT = -13,
  SEQCAST_E_OWNER = -14,
  SEQCAST_E_MODE = -15,
  SEQCAST_E_OPTIONS_DIFFER = -16,
  SEQCAST_E_TRUNCATED = -17,
  SEQCAST_E_DENIED = -18,
  SEQCAST_E_NO_SPACE = -19,
  SEQCAST_E_FILE_LIMIT = -20,
  SEQCAST_E_MEMORY_LIMIT = -21,
  SEQCAST_E_INTERRUPTED = -22,
  SEQCAST_E_NO_SHARED_MEMORY = -23,
  SEQCAST_E_READ_ONLY = -24,
  SEQCAST_E_NO_INODES = -25,
  SEQCAST_E_LINKED = -26,
  SEQCAST_E_HOLES = -27,
  SEQCAST_E_REPLACED = -28,
  SEQCAST_E_NO_SEAT = -29,
  SEQCAST_E_DESCRIPTOR = -30,
  SEQCAST_E_DISPLACED = -31,
  SEQCAST_E_FORKED = -32,
  SEQCAST_E_PAYLOAD_TOO_LARGE = -33,
  SEQCAST_E_NOT_YET = -34,
  SEQCAST_E_OTHER_BUS = -35,
  SEQCAST_E_TOO_LATE = -36,
  SEQCAST_E_PAYLOAD = -37,
  SEQCAST_E_ARCHIVE = -38,
  SEQCAST_E_CORRUPT = -39,
  SEQCAST_E_EXHAUSTED = -40,
  SEQCAST_E_LEFT = -41,
  SEQCAST_E_ALREADY_CONFIGURED = -42,
  SEQCAST_E_NOT_CONFIGURED = -43,
  SEQCAST_E_POLLER_PANICKED = -44,
  SEQCAST_E_SYSTEM = -45,
  SEQCAST_E_UNHEARD = -46,
  SEQCAST_E_BELL_CLOSED = -47,
  SEQCAST_E_TYPED_FORMAT = -48,
  SEQCAST_E_CLAIM_LOST = -49,
  SEQCAST_E_RETAINED_FULL = -50,
  SEQCAST_E_FULL = -51,
  SEQCAST_E_NO_RELAY = -52,
  SEQCAST_E_RELAY_TAKEN = -53,
  SEQCAST_E_RELAY_FULL = -54,
  SEQCAST_E_NULL = -1001,
  SEQCAST_E_HANDLE = -1002,
  SEQCAST_E_IN_USE = -1003,
  SEQCAST_E_PANIC = -1004,
  SEQCAST_E_TEXT = -1005,
  SEQCAST_E_SIZE = -1006,
  SEQCAST_E_NOT_A_READER = -1007,
  SEQCAST_E_TOO_MANY_HANDLES = -1008,
  SEQCAST_E_NO_BELL = -1009,
} seqcast_error;

typedef enum seqcast_kind {
  SEQCAST_NOTHING = 0,
  SEQCAST_EVENT = 1,
  SEQCAST_LAGGED = 2,
  SEQCAST_RESERVED = 3,
  SEQCAST_UNDECIDED = 4,
  SEQCAST_UNREADABLE = 5,
  SEQCAST_OTHER = 6,
  SEQCAST_CLEARED = 7,
  SEQCAST_RESET = 8,
  SEQCAST_UP_TO_DATE = 9,
  SEQCAST_MISSED = 10,
} seqcast_kind;

typedef enum seqcast_missed_reason {
  SEQCAST_MISSED_OTHER = 0,
  SEQCAST_MISSED_TRIMMED = 2,
  SEQCAST_MISSED_ORIGIN_LAPPED = 3,
  SEQCAST_MISSED_CATCH_UP = 4,
  SEQCAST_MISSED_ENGINE_LOST = 5,
  SEQCAST_MISSED_UNDECIDED = 6,
  SEQCAST_MISSED_TOO_LARGE = 7,
  SEQCAST_MISSED_FORMAT = 8,
} seqcast_missed_reason;

typedef enum seqcast_reason {
  SEQCAST_REASON_OTHER = 0,
  SEQCAST_REASON_CLAIMS_FULL = 1,
  SEQCAST_REASON_LATE = 2,
} seqcast_reason;

typedef enum seqcast_seen_kind {
  SEQCAST_SEEN_NOTHING = 0,
  SEQCAST_SEEN_EVENT = 1,
  SEQCAST_SEEN_GAP = 2,
  SEQCAST_SEEN_VOID = 3,
  SEQCAST_SEEN_PASSED_OVER = 4,
  SEQCAST_SEEN_HEADLESS = 5,
  SEQCAST_SEEN_UNREADABLE = 6,
  SEQCAST_SEEN_OTHER = 7,
  SEQCAST_SEEN_MISSED = 8,
} seqcast_seen_kind;

typedef enum seqcast_start_at {
  SEQCAST_START_NOW = 0,
  SEQCAST_START_OLDEST = 1,
  SEQCAST_START_AT = 2,
  SEQCAST_START_AFTER = 3,
  SEQCAST_START_RESUME = 4,
  SEQCAST_START_RETAINED = 5,
} seqcast_start_at;

typedef struct seqcast_bus seqcast_bus;

typedef struct seqcast_claim_list seqcast_claim_list;

typedef struct seqcast_inspector seqcast_inspector;

typedef struct seqcast_retained_list seqcast_retained_list;

typedef struct seqcast_seat seqcast_seat;

typedef struct seqcast_stats seqcast_stats;

typedef struct seqcast_tail seqcast_tail;

typedef struct seqcast_full {
  uint64_t lag;
  uint64_t patience_ns;
  uint32_t seat;
  uint32_t pid;
  int32_t own;
  int32_t reserved;
  char label[56];
  uint64_t more[4];
} seqcast_full;

typedef struct seqcast_bus_options {
  size_t size;
  uint64_t capacity;
  uint64_t block_size;
  uint64_t claims;
  uint64_t seats;
  uint64_t creation_timeout_ns;
  uint32_t mode;
  int32_t set_owner;
  uint32_t owner_uid;
  uint32_t owner_gid;
  int32_t strict;
  int32_t unlink_on_free;
  int32_t dump;
  int32_t reserved;
  int64_t retained_keys;
  uint64_t retained_size;
  uint64_t large_blocks;
  uint64_t large_size;
  int64_t most_patience_ns;
  int64_t relay_hosts;
} seqcast_bus_options;

typedef struct seqcast_seat_options {
  size_t size;
  const char *label;
  size_t label_len;
  uint64_t start_id;
  const char *start_position;
  size_t start_position_len;
  uint64_t wait_interval_ns;
  uint64_t wait_max_ns;
  uint64_t timeout_ns;
  int32_t start;
  int32_t silent;
  int32_t resync;
  int32_t reserved;
  uint64_t must_read_ns;
} seqcast_seat_options;

typedef struct seqcast_bell_options {
  size_t size;
  uint64_t interval_ns;
  uint64_t tick_ns;
  int32_t thread;
  int32_t reserved;
} seqcast_bell_options;

typedef struct seqcast_claim {
  uint64_t words[3];
} seqcast_claim;

typedef struct seqcast_held {
  uint64_t left_ns;
  uint64_t since_ns;
  uint32_t seat;
  uint32_t pid;
  int32_t winner;
  int32_t ends_with_holder;
  char label[56];
  uint64_t reserved[4];
} seqcast_held;

typedef struct seqcast_post_options {
  size_t size;
  uint64_t type_tag;
  const char *key;
  size_t key_len;
  uint64_t ttl_ns;
  const char *retain_key;
  size_t retain_key_len;
  int32_t retain;
  int32_t reserved;
  int32_t cluster;
  int32_t reserved_2;
} seqcast_post_options;

typedef struct seqcast_delivery {
  int32_t kind;
  int32_t own;
  uint32_t pid;
  uint32_t seat;
  uint64_t id;
  uint64_t missed;
  uint64_t type_tag;
  const char *source;
  size_t source_len;
  const char *event;
  size_t event_len;
  const void *payload;
  size_t payload_len;
  int32_t unique;
  int32_t reason;
  struct seqcast_claim claim;
  const char *retained_key;
  size_t retained_key_len;
  int32_t retained;
  int32_t handed_over;
  int32_t cut_off;
  int32_t missed_reason;
  int32_t has_origin;
  int32_t bridged;
  uint64_t origin;
  uint64_t cluster_timeline;
  uint64_t cluster_n;
} seqcast_delivery;

typedef struct seqcast_topic {
  const char *source;
  size_t source_len;
  const char *event;
  size_t event_len;
} seqcast_topic;

typedef struct seqcast_text {
  const char *data;
  size_t len;
} seqcast_text;

typedef struct seqcast_retained {
  uint64_t id;
  uint64_t type_tag;
  uint64_t left_ns;
  const char *source;
  size_t source_len;
  const char *event;
  size_t event_len;
  const char *key;
  size_t key_len;
  const void *payload;
  size_t payload_len;
  uint32_t pid;
  uint32_t seat;
} seqcast_retained;

typedef struct seqcast_tail_options {
  size_t size;
  uint64_t start_id;
  const char *start_position;
  size_t start_position_len;
  uint64_t patience_ns;
  int32_t start;
  int32_t payloads;
} seqcast_tail_options;

typedef struct seqcast_seen {
  int32_t kind;
  int32_t fragmented;
  int32_t unique;
  uint32_t pid;
  uint32_t seat;
  int32_t typed;
  uint64_t id;
  uint64_t missed;
  const char *source;
  size_t source_len;
  const char *event;
  size_t event_len;
  uint64_t len;
  const void *payload;
  size_t payload_len;
  int32_t large;
  int32_t reserved;
  const char *retained_key;
  size_t retained_key_len;
  uint64_t ttl_ns;
  int32_t retained;
  int32_t clears;
  int32_t request;
  int32_t missed_reason;
  int32_t has_origin;
  int32_t reserved_2;
  uint64_t origin;
  uint64_t origin_id;
  uint64_t cluster_timeline;
  uint64_t cluster_n;
} seqcast_seen;

typedef struct seqcast_claim_entry {
  char key_hash[40];
  uint64_t left_ns;
  uint64_t since_ns;
  uint64_t first_id;
  uint64_t last_id;
  struct seqcast_claim claim;
  int32_t kind;
  int32_t winner;
  uint32_t seat;
  uint32_t pid;
  int32_t ends_with_holder;
  int32_t reserved;
  char label[56];
} seqcast_claim_entry;

uint32_t seqcast_abi(void);

int seqcast_version(char *buffer, size_t capacity);

const char *seqcast_error_message(void);

int seqcast_error_errno(void);

int seqcast_error_full(struct seqcast_full *full);

int seqcast_error_code(int result, char *buffer, size_t capacity);

int seqcast_bus_create(const char *name,
                       size_t name_len,
                       const struct seqcast_bus_options *options,
                       struct seqcast_bus **out);

int seqcast_bus_open(const char *name,
                     size_t name_len,
                     const struct seqcast_bus_options *options,
                     struct seqcast_bus **out);

int seqcast_bus_open_or_create(const char *name,
                               size_t name_len,
                               const struct seqcast_bus_options *options,
                               struct seqcast_bus **out);

int seqcast_bus_anonymous(const struct seqcast_bus_options *options, struct seqcast_bus **out);

int seqcast_bus_free(struct seqcast_bus *bus);

int seqcast_bus_name(const struct seqcast_bus *bus, char *buffer, size_t capacity);

int seqcast_bus_id(const struct seqcast_bus *bus, char *buffer, size_t capacity);

int seqcast_bus_origin(const struct seqcast_bus *bus, uint64_t *origin);

int seqcast_bus_differences(const struct seqcast_bus *bus, char *buffer, size_t capacity);

int seqcast_bus_was_created(const struct seqcast_bus *bus);

int seqcast_bus_is_current(const struct seqcast_bus *bus);

int seqcast_bus_next_id(const struct seqcast_bus *bus, uint64_t *id);

int seqcast_bus_capacity(const struct seqcast_bus *bus, uint64_t *events);

int seqcast_bus_largest_event(const struct seqcast_bus *bus, uint64_t *bytes);

int seqcast_bus_unlink(const struct seqcast_bus *bus);

int seqcast_bus_unlink_if_last(struct seqcast_bus *bus);

int seqcast_unlink(const char *name, size_t name_len);

int seqcast_unlink_unheld(const char *name, size_t name_len);

int seqcast_bus_subscribe(const struct seqcast_bus *bus,
                          const struct seqcast_seat_options *options,
                          struct seqcast_seat **out);

int seqcast_bus_publisher(const struct seqcast_bus *bus,
                          const struct seqcast_seat_options *options,
                          struct seqcast_seat **out);

int seqcast_seat_free(struct seqcast_seat *seat);

int seqcast_seat_leave(struct seqcast_seat *seat);

int seqcast_seat_number(struct seqcast_seat *seat);

int seqcast_seat_bell(struct seqcast_seat *seat,
                      const struct seqcast_bell_options *options,
                      int *fd);

int seqcast_seat_arm(struct seqcast_seat *seat);

int seqcast_seat_bell_kind(struct seqcast_seat *seat);

int seqcast_seat_bell_unheard(struct seqcast_seat *seat, char *buffer, size_t capacity);

int seqcast_seat_claim(struct seqcast_seat *seat,
                       const char *key,
                       size_t key_len,
                       uint64_t ttl_ns,
                       struct seqcast_claim *claim,
                       uint64_t *left_ns,
                       uint32_t *holder);

int seqcast_seat_claim_for_life(struct seqcast_seat *seat,
                                const char *key,
                                size_t key_len,
                                uint64_t ttl_ns,
                                struct seqcast_claim *claim,
                                uint64_t *left_ns,
                                uint32_t *holder);

int seqcast_seat_renew(struct seqcast_seat *seat,
                       const struct seqcast_claim *claim,
                       uint64_t ttl_ns);

int seqcast_seat_complete(struct seqcast_seat *seat,
                          const struct seqcast_claim *claim,
                          uint64_t ttl_ns);

int seqcast_seat_claim_left(struct seqcast_seat *seat,
                            const struct seqcast_claim *claim,
                            uint64_t *left_ns);

int seqcast_bus_held(const struct seqcast_bus *bus,
                     const char *key,
                     size_t key_len,
                     struct seqcast_held *held);

int seqcast_bus_key_hash(const struct seqcast_bus *bus,
                         const char *key,
                         size_t key_len,
                         char *buffer,
                         size_t capacity);

int seqcast_seat_release(struct seqcast_seat *seat, const struct seqcast_claim *claim);

int seqcast_seat_forward(struct seqcast_seat *seat,
                         const struct seqcast_bell_options *options,
                         int socket);

int seqcast_seat_post(struct seqcast_seat *seat,
                      const char *source,
                      size_t source_len,
                      const char *event,
                      size_t event_len,
                      const void *payload,
                      size_t payload_len,
                      const struct seqcast_post_options *options,
                      uint64_t *id);

int seqcast_seat_try_post(struct seqcast_seat *seat,
                          const char *source,
                          size_t source_len,
                          const char *event,
                          size_t event_len,
                          const void *payload,
                          size_t payload_len,
                          const struct seqcast_post_options *options,
                          uint64_t *id);

int seqcast_seat_reserve(struct seqcast_seat *seat, uint64_t *id);

int seqcast_seat_try_reserve(struct seqcast_seat *seat, uint64_t *id);

int seqcast_seat_commit(struct seqcast_seat *seat,
                        uint64_t id,
                        const char *source,
                        size_t source_len,
                        const char *event,
                        size_t event_len,
                        const void *payload,
                        size_t payload_len,
                        const struct seqcast_post_options *options);

int seqcast_seat_abandon(struct seqcast_seat *seat, uint64_t id);

int seqcast_seat_next(struct seqcast_seat *seat,
                      uint64_t timeout_ns,
                      const struct seqcast_delivery **out);

int seqcast_seat_next_before(struct seqcast_seat *seat,
                             uint64_t end,
                             const struct seqcast_delivery **out);

int seqcast_seat_wait(struct seqcast_seat *seat, uint64_t timeout_ns);

int seqcast_seat_set_wait_max(struct seqcast_seat *seat, uint64_t wait_max_ns);

int seqcast_seat_only(struct seqcast_seat *seat, const struct seqcast_topic *topics, size_t count);

int seqcast_seat_only_sources(struct seqcast_seat *seat,
                              const struct seqcast_text *sources,
                              size_t count);

int seqcast_seat_cursor(struct seqcast_seat *seat, uint64_t *id);

int seqcast_seat_position(struct seqcast_seat *seat, char *buffer, size_t capacity);

int seqcast_seat_get(struct seqcast_seat *seat,
                     const char *source,
                     size_t source_len,
                     const char *event,
                     size_t event_len,
                     const char *key,
                     size_t key_len,
                     const struct seqcast_retained **out);

int seqcast_seat_clear(struct seqcast_seat *seat,
                       const char *source,
                       size_t source_len,
                       const char *event,
                       size_t event_len,
                       const char *key,
                       size_t key_len,
                       uint64_t *id);

int seqcast_seat_try_clear(struct seqcast_seat *seat,
                           const char *source,
                           size_t source_len,
                           const char *event,
                           size_t event_len,
                           const char *key,
                           size_t key_len,
                           uint64_t *id);

int seqcast_seat_clear_cluster(struct seqcast_seat *seat,
                               const char *source,
                               size_t source_len,
                               const char *event,
                               size_t event_len,
                               const char *key,
                               size_t key_len,
                               uint64_t *id);

int seqcast_seat_retained(struct seqcast_seat *seat, struct seqcast_retained_list **out);

int seqcast_retained_list_count(const struct seqcast_retained_list *list);

int seqcast_retained_list_at(const struct seqcast_retained_list *list,
                             size_t index,
                             const struct seqcast_retained **out);

int seqcast_retained_list_free(struct seqcast_retained_list *list);

int seqcast_bus_stats(const struct seqcast_bus *bus, struct seqcast_stats **out);

int seqcast_stats_free(struct seqcast_stats *stats);

int seqcast_stats_rows(const struct seqcast_stats *stats);

int seqcast_stats_label(const struct seqcast_stats *stats,
                        size_t row,
                        char *buffer,
                        size_t capacity);

int seqcast_stats_get(const struct seqcast_stats *stats,
                      size_t row,
                      const char *name,
                      size_t name_len,
                      uint64_t *value);

int seqcast_stats_at(const struct seqcast_stats *stats,
                     size_t row,
                     size_t index,
                     const char **name,
                     uint64_t *value);

int seqcast_inspector_open(const char *name, size_t name_len, struct seqcast_inspector **out);

int seqcast_inspector_free(struct seqcast_inspector *inspector);

int seqcast_inspector_stats(const struct seqcast_inspector *inspector, struct seqcast_stats **out);

int seqcast_inspector_is_current(const struct seqcast_inspector *inspector);

int seqcast_inspector_tail(const struct seqcast_inspector *inspector,
                           const struct seqcast_tail_options *options,
                           struct seqcast_tail **out);

int seqcast_inspector_retained(const struct seqcast_inspector *inspector,
                               struct seqcast_retained_list **out);

int seqcast_tail_next(struct seqcast_tail *tail, const struct seqcast_seen **out);

int seqcast_tail_free(struct seqcast_tail *tail);

int seqcast_names(char *buffer, size_t capacity);

int seqcast_inspector_claims(const struct seqcast_inspector *inspector,
                             struct seqcast_claim_list **out);

int seqcast_claim_list_count(const struct seqcast_claim_list *list);

int seqcast_claim_list_at(const struct seqcast_claim_list *list,
                          size_t index,
                          const struct seqcast_claim_entry **out);

int seqcast_claim_list_free(struct seqcast_claim_list *list);
