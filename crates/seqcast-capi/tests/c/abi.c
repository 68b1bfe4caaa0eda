/*
 * What programs are compiled with: the fields and sizes of structs, and the numbers. None of these lines may change,
 * except the size of a struct that gets new fields at its end. If another line must change, so must SEQCAST_ABI and
 * the soname.
 */
#include "check.h"

#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field " has moved")
#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " has another size")
#define IS(constant, number) _Static_assert((constant) == (number), #constant " has another number")

AT(seqcast_bus_options, size, 0);
AT(seqcast_bus_options, capacity, 8);
AT(seqcast_bus_options, block_size, 16);
AT(seqcast_bus_options, claims, 24);
AT(seqcast_bus_options, seats, 32);
AT(seqcast_bus_options, creation_timeout_ns, 40);
AT(seqcast_bus_options, mode, 48);
AT(seqcast_bus_options, set_owner, 52);
AT(seqcast_bus_options, owner_uid, 56);
AT(seqcast_bus_options, owner_gid, 60);
AT(seqcast_bus_options, strict, 64);
AT(seqcast_bus_options, unlink_on_free, 68);
AT(seqcast_bus_options, dump, 72);
AT(seqcast_bus_options, reserved, 76);
AT(seqcast_bus_options, retained_keys, 80);
AT(seqcast_bus_options, retained_size, 88);
AT(seqcast_bus_options, large_blocks, 96);
AT(seqcast_bus_options, large_size, 104);
AT(seqcast_bus_options, most_patience_ns, 112);
AT(seqcast_bus_options, relay_hosts, 120);
SIZE(seqcast_bus_options, 128);

AT(seqcast_seat_options, size, 0);
AT(seqcast_seat_options, label, 8);
AT(seqcast_seat_options, label_len, 16);
AT(seqcast_seat_options, start_id, 24);
AT(seqcast_seat_options, start_position, 32);
AT(seqcast_seat_options, start_position_len, 40);
AT(seqcast_seat_options, wait_interval_ns, 48);
AT(seqcast_seat_options, wait_max_ns, 56);
AT(seqcast_seat_options, timeout_ns, 64);
AT(seqcast_seat_options, start, 72);
AT(seqcast_seat_options, silent, 76);
AT(seqcast_seat_options, resync, 80);
AT(seqcast_seat_options, reserved, 84);
AT(seqcast_seat_options, must_read_ns, 88);
SIZE(seqcast_seat_options, 96);

AT(seqcast_bell_options, size, 0);
AT(seqcast_bell_options, interval_ns, 8);
AT(seqcast_bell_options, tick_ns, 16);
AT(seqcast_bell_options, thread, 24);
AT(seqcast_bell_options, reserved, 28);
SIZE(seqcast_bell_options, 32);

AT(seqcast_claim, words, 0);
SIZE(seqcast_claim, 24);

AT(seqcast_held, left_ns, 0);
AT(seqcast_held, since_ns, 8);
AT(seqcast_held, seat, 16);
AT(seqcast_held, pid, 20);
AT(seqcast_held, winner, 24);
AT(seqcast_held, ends_with_holder, 28);
AT(seqcast_held, label, 32);
AT(seqcast_held, reserved, 88);
SIZE(seqcast_held, 120);

AT(seqcast_claim_entry, key_hash, 0);
AT(seqcast_claim_entry, left_ns, 40);
AT(seqcast_claim_entry, since_ns, 48);
AT(seqcast_claim_entry, first_id, 56);
AT(seqcast_claim_entry, last_id, 64);
AT(seqcast_claim_entry, claim, 72);
AT(seqcast_claim_entry, kind, 96);
AT(seqcast_claim_entry, winner, 100);
AT(seqcast_claim_entry, seat, 104);
AT(seqcast_claim_entry, pid, 108);
AT(seqcast_claim_entry, ends_with_holder, 112);
AT(seqcast_claim_entry, reserved, 116);
AT(seqcast_claim_entry, label, 120);
SIZE(seqcast_claim_entry, 176);

AT(seqcast_full, lag, 0);
AT(seqcast_full, patience_ns, 8);
AT(seqcast_full, seat, 16);
AT(seqcast_full, pid, 20);
AT(seqcast_full, own, 24);
AT(seqcast_full, reserved, 28);
AT(seqcast_full, label, 32);
AT(seqcast_full, more, 88);
SIZE(seqcast_full, 120);

AT(seqcast_post_options, size, 0);
AT(seqcast_post_options, type_tag, 8);
AT(seqcast_post_options, key, 16);
AT(seqcast_post_options, key_len, 24);
AT(seqcast_post_options, ttl_ns, 32);
AT(seqcast_post_options, retain_key, 40);
AT(seqcast_post_options, retain_key_len, 48);
AT(seqcast_post_options, retain, 56);
AT(seqcast_post_options, reserved, 60);
AT(seqcast_post_options, cluster, 64);
AT(seqcast_post_options, reserved_2, 68);
SIZE(seqcast_post_options, 72);

AT(seqcast_delivery, kind, 0);
AT(seqcast_delivery, own, 4);
AT(seqcast_delivery, pid, 8);
AT(seqcast_delivery, seat, 12);
AT(seqcast_delivery, id, 16);
AT(seqcast_delivery, missed, 24);
AT(seqcast_delivery, type_tag, 32);
AT(seqcast_delivery, source, 40);
AT(seqcast_delivery, source_len, 48);
AT(seqcast_delivery, event, 56);
AT(seqcast_delivery, event_len, 64);
AT(seqcast_delivery, payload, 72);
AT(seqcast_delivery, payload_len, 80);
AT(seqcast_delivery, unique, 88);
AT(seqcast_delivery, reason, 92);
AT(seqcast_delivery, claim, 96);
AT(seqcast_delivery, retained_key, 120);
AT(seqcast_delivery, retained_key_len, 128);
AT(seqcast_delivery, retained, 136);
AT(seqcast_delivery, handed_over, 140);
AT(seqcast_delivery, cut_off, 144);
AT(seqcast_delivery, missed_reason, 148);
AT(seqcast_delivery, has_origin, 152);
AT(seqcast_delivery, bridged, 156);
AT(seqcast_delivery, origin, 160);
AT(seqcast_delivery, cluster_timeline, 168);
AT(seqcast_delivery, cluster_n, 176);
SIZE(seqcast_delivery, 184);

AT(seqcast_retained, id, 0);
AT(seqcast_retained, type_tag, 8);
AT(seqcast_retained, left_ns, 16);
AT(seqcast_retained, source, 24);
AT(seqcast_retained, source_len, 32);
AT(seqcast_retained, event, 40);
AT(seqcast_retained, event_len, 48);
AT(seqcast_retained, key, 56);
AT(seqcast_retained, key_len, 64);
AT(seqcast_retained, payload, 72);
AT(seqcast_retained, payload_len, 80);
AT(seqcast_retained, pid, 88);
AT(seqcast_retained, seat, 92);
SIZE(seqcast_retained, 96);

AT(seqcast_topic, source, 0);
AT(seqcast_topic, source_len, 8);
AT(seqcast_topic, event, 16);
AT(seqcast_topic, event_len, 24);
SIZE(seqcast_topic, 32);

AT(seqcast_text, data, 0);
AT(seqcast_text, len, 8);
SIZE(seqcast_text, 16);

AT(seqcast_tail_options, size, 0);
AT(seqcast_tail_options, start_id, 8);
AT(seqcast_tail_options, start_position, 16);
AT(seqcast_tail_options, start_position_len, 24);
AT(seqcast_tail_options, patience_ns, 32);
AT(seqcast_tail_options, start, 40);
AT(seqcast_tail_options, payloads, 44);
SIZE(seqcast_tail_options, 48);

AT(seqcast_seen, kind, 0);
AT(seqcast_seen, fragmented, 4);
AT(seqcast_seen, unique, 8);
AT(seqcast_seen, pid, 12);
AT(seqcast_seen, seat, 16);
AT(seqcast_seen, typed, 20);
AT(seqcast_seen, id, 24);
AT(seqcast_seen, missed, 32);
AT(seqcast_seen, source, 40);
AT(seqcast_seen, source_len, 48);
AT(seqcast_seen, event, 56);
AT(seqcast_seen, event_len, 64);
AT(seqcast_seen, len, 72);
AT(seqcast_seen, payload, 80);
AT(seqcast_seen, payload_len, 88);
AT(seqcast_seen, large, 96);
AT(seqcast_seen, reserved, 100);
AT(seqcast_seen, retained_key, 104);
AT(seqcast_seen, retained_key_len, 112);
AT(seqcast_seen, ttl_ns, 120);
AT(seqcast_seen, retained, 128);
AT(seqcast_seen, clears, 132);
AT(seqcast_seen, request, 136);
AT(seqcast_seen, missed_reason, 140);
AT(seqcast_seen, has_origin, 144);
AT(seqcast_seen, reserved_2, 148);
AT(seqcast_seen, origin, 152);
AT(seqcast_seen, origin_id, 160);
AT(seqcast_seen, cluster_timeline, 168);
AT(seqcast_seen, cluster_n, 176);
SIZE(seqcast_seen, 184);

IS(SEQCAST_ABI, 0);

IS(SEQCAST_BELL_INOTIFY, 0);
IS(SEQCAST_BELL_TICK, 1);
IS(SEQCAST_BELL_THREAD, 2);
IS(SEQCAST_BELL_OTHER, 3);

IS(SEQCAST_CLAIM_HELD, 0);
IS(SEQCAST_CLAIM_WON, 1);
IS(SEQCAST_CLAIM_FULL, 2);

IS(SEQCAST_CLAIM_ALONE, 0);
IS(SEQCAST_CLAIM_EVENT, 1);
IS(SEQCAST_CLAIM_OTHER, 2);

IS(SEQCAST_WINNER_ALIVE, 0);
IS(SEQCAST_WINNER_DEAD, 1);
IS(SEQCAST_WINNER_GONE, 2);

IS(SEQCAST_E_NAME, -1);
IS(SEQCAST_E_OPTION, -2);
IS(SEQCAST_E_TOPIC, -3);
IS(SEQCAST_E_LIBRARY_SOURCE, -4);
IS(SEQCAST_E_TYPED_TOPIC, -5);
IS(SEQCAST_E_NOT_FOUND, -6);
IS(SEQCAST_E_EXISTS, -7);
IS(SEQCAST_E_FOREIGN, -8);
IS(SEQCAST_E_UNFINISHED, -9);
IS(SEQCAST_E_BUSY, -10);
IS(SEQCAST_E_LAYOUT, -11);
IS(SEQCAST_E_FINGERPRINT, -12);
IS(SEQCAST_E_OTHER_BOOT, -13);
IS(SEQCAST_E_OWNER, -14);
IS(SEQCAST_E_MODE, -15);
IS(SEQCAST_E_OPTIONS_DIFFER, -16);
IS(SEQCAST_E_TRUNCATED, -17);
IS(SEQCAST_E_DENIED, -18);
IS(SEQCAST_E_NO_SPACE, -19);
IS(SEQCAST_E_FILE_LIMIT, -20);
IS(SEQCAST_E_MEMORY_LIMIT, -21);
IS(SEQCAST_E_INTERRUPTED, -22);
IS(SEQCAST_E_NO_SHARED_MEMORY, -23);
IS(SEQCAST_E_READ_ONLY, -24);
IS(SEQCAST_E_NO_INODES, -25);
IS(SEQCAST_E_LINKED, -26);
IS(SEQCAST_E_HOLES, -27);
IS(SEQCAST_E_REPLACED, -28);
IS(SEQCAST_E_NO_SEAT, -29);
IS(SEQCAST_E_DESCRIPTOR, -30);
IS(SEQCAST_E_DISPLACED, -31);
IS(SEQCAST_E_FORKED, -32);
IS(SEQCAST_E_PAYLOAD_TOO_LARGE, -33);
IS(SEQCAST_E_NOT_YET, -34);
IS(SEQCAST_E_OTHER_BUS, -35);
IS(SEQCAST_E_TOO_LATE, -36);
IS(SEQCAST_E_PAYLOAD, -37);
IS(SEQCAST_E_ARCHIVE, -38);
IS(SEQCAST_E_CORRUPT, -39);
IS(SEQCAST_E_EXHAUSTED, -40);
IS(SEQCAST_E_LEFT, -41);
IS(SEQCAST_E_ALREADY_CONFIGURED, -42);
IS(SEQCAST_E_NOT_CONFIGURED, -43);
IS(SEQCAST_E_POLLER_PANICKED, -44);
IS(SEQCAST_E_SYSTEM, -45);
IS(SEQCAST_E_UNHEARD, -46);
IS(SEQCAST_E_BELL_CLOSED, -47);
IS(SEQCAST_E_TYPED_FORMAT, -48);
IS(SEQCAST_E_CLAIM_LOST, -49);
IS(SEQCAST_E_RETAINED_FULL, -50);
IS(SEQCAST_E_FULL, -51);
IS(SEQCAST_E_NO_RELAY, -52);
IS(SEQCAST_E_RELAY_TAKEN, -53);
IS(SEQCAST_E_RELAY_FULL, -54);
IS(SEQCAST_E_NULL, -1001);
IS(SEQCAST_E_HANDLE, -1002);
IS(SEQCAST_E_IN_USE, -1003);
IS(SEQCAST_E_PANIC, -1004);
IS(SEQCAST_E_TEXT, -1005);
IS(SEQCAST_E_SIZE, -1006);
IS(SEQCAST_E_NOT_A_READER, -1007);
IS(SEQCAST_E_TOO_MANY_HANDLES, -1008);
IS(SEQCAST_E_NO_BELL, -1009);

IS(SEQCAST_NOTHING, 0);
IS(SEQCAST_EVENT, 1);
IS(SEQCAST_LAGGED, 2);
IS(SEQCAST_RESERVED, 3);
IS(SEQCAST_UNDECIDED, 4);
IS(SEQCAST_UNREADABLE, 5);
IS(SEQCAST_OTHER, 6);
IS(SEQCAST_CLEARED, 7);
IS(SEQCAST_RESET, 8);
IS(SEQCAST_UP_TO_DATE, 9);
IS(SEQCAST_MISSED, 10);

IS(SEQCAST_MISSED_OTHER, 0);
IS(SEQCAST_MISSED_TRIMMED, 2);
IS(SEQCAST_MISSED_ORIGIN_LAPPED, 3);
IS(SEQCAST_MISSED_CATCH_UP, 4);
IS(SEQCAST_MISSED_ENGINE_LOST, 5);
IS(SEQCAST_MISSED_UNDECIDED, 6);
IS(SEQCAST_MISSED_TOO_LARGE, 7);
IS(SEQCAST_MISSED_FORMAT, 8);

IS(SEQCAST_REASON_OTHER, 0);
IS(SEQCAST_REASON_CLAIMS_FULL, 1);
IS(SEQCAST_REASON_LATE, 2);

IS(SEQCAST_SEEN_NOTHING, 0);
IS(SEQCAST_SEEN_EVENT, 1);
IS(SEQCAST_SEEN_GAP, 2);
IS(SEQCAST_SEEN_VOID, 3);
IS(SEQCAST_SEEN_PASSED_OVER, 4);
IS(SEQCAST_SEEN_HEADLESS, 5);
IS(SEQCAST_SEEN_UNREADABLE, 6);
IS(SEQCAST_SEEN_OTHER, 7);
IS(SEQCAST_SEEN_MISSED, 8);

IS(SEQCAST_START_NOW, 0);
IS(SEQCAST_START_OLDEST, 1);
IS(SEQCAST_START_AT, 2);
IS(SEQCAST_START_AFTER, 3);
IS(SEQCAST_START_RESUME, 4);
IS(SEQCAST_START_RETAINED, 5);

int main(void) {
    CHECK_IS(seqcast_abi(), 0);
    return 0;
}
