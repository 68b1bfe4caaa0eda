//! The counters of the workers, and access to them.

use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use seqcast::inspect::{ClaimKind, Inspector, Seen, Winner};
use seqcast::{Bus, Cause, Claimed, Event, Scope, Start, Unique, Worker, WorkerStats};
use seqcast_testkit::{
    Child, HOUR, Log, Reports, alone, assert_error, bus, counts, eventually, in_child, listener, of_seat, poll, quiet,
    small, stop_here,
};

/// The counters of a worker, by name.
fn counters(counts: &WorkerStats) -> [(&'static str, u64); 30] {
    macro_rules! named {
        ($($name:ident)+) => {
            [$((stringify!($name), counts.$name)),+]
        };
    }
    named!(incarnation adopted cut_off room_waits room_refused posted fragments large reservations committed wakes
        retained settled retained_full delivered skipped missed lagged voided waited wakeups corrupt failed orphaned
        resets claims_won claims_lost claims_full claims_late claims_released)
}

/// Returns the changes of a worker's counters by `act`. Counters that it does not name must not change.
fn moved(bus: &Bus, worker: &Worker, act: impl FnOnce()) -> Vec<(&'static str, u64)> {
    let before = counters(&counts(bus, worker));
    act();
    let after = counters(&counts(bus, worker));
    after
        .into_iter()
        .zip(before)
        .map(|((name, after), (_, before))| (name, after - before))
        .filter(|(_, change)| *change > 0)
        .collect()
}

alone! {
    fn figures_by_name_are_the_fields() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let publisher = bus.publisher_with(&quiet()).unwrap();
        worker.post(("s", "e"), [0; 1000]).unwrap();
        poll(&worker);
        let stats = bus.stats().unwrap();
        let reader = of_seat(&stats, worker.seat());
        let named: Vec<_> = reader.figures().collect();
        for counter in counters(&reader) {
            assert!(named.contains(&counter), "{counter:?} of {named:?}");
        }
        assert!(reader.fragments > 0 && named.contains(&("cursor", reader.cursor.unwrap())), "{named:?}");
        let of_poster = of_seat(&stats, publisher.seat());
        assert!(!of_poster.figures().any(|(name, _)| name == "cursor" || name == "last_poll_ns"), "{of_poster:?}");
        let named: Vec<_> = stats.figures().collect();
        let expected = [("seats", 16), ("next_id", stats.next_id), ("creator_pid", u64::from(std::process::id()))];
        for figure in expected {
            assert!(named.contains(&figure), "{figure:?} of {named:?}");
        }
    }

    fn a_wait_that_need_not_sleep_or_is_not_woken_is_no_wakeup() {
        let (_name, bus) = bus(&small());
        let (worker, sender) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let did = moved(&bus, &worker, || assert!(!worker.wait(Duration::from_millis(2)).unwrap()));
        assert_eq!(did, [], "nothing came");
        sender.post(("s", "e"), b"").unwrap();
        let did = moved(&bus, &worker, || assert!(worker.wait(HOUR).unwrap()));
        assert_eq!(did, [], "it was there before");
    }

    fn an_inspector_says_who_made_a_segment_and_what_it_holds() {
        let (name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        for _ in 0..100 {
            worker.post(("s", "e"), b"").unwrap();
        }
        let inspector = Inspector::open_any(&name).unwrap();
        assert_eq!(inspector.name(), bus.name());
        let stats = inspector.stats().unwrap();
        assert_eq!((stats.oldest_id, stats.next_id, inspector.next_id()), (100 - 64, 100, 100));
        assert_eq!(stats.sizes, inspector.sizes());
        assert_eq!(stats.sizes.largest_event, bus.largest_event() as u64);
        assert!(inspector.is_current().unwrap());
        let header = inspector.header();
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(header.boot_id, u128::from_str_radix(&boot_id.trim().replace('-', ""), 16).ok());
        assert_eq!((stats.creator_pid, header.layout_version), (std::process::id(), 6));
        assert!(header.fingerprint != 0);
        assert!(SystemTime::now().duration_since(stats.created_at).unwrap() < HOUR);
    }

    fn an_inspector_knows_the_last_seat_as_well_as_the_first() {
        let (name, bus) = bus(&small().seats(2));
        let workers = [(); 2].map(|()| bus.join_with(&quiet()).unwrap());
        let last = &workers[1];
        assert_eq!(last.seat(), 1);
        let inspector = Inspector::open_any(&name).unwrap();
        let mut hasty = inspector.tail(Start::Now).unwrap().patience(Duration::ZERO);
        let reservation = last.reserve().unwrap();
        let seen = hasty.try_next().unwrap();
        assert!(matches!(seen, Some(Seen::PassedOver { id, seat: Some(1), .. }) if id == reservation.id()), "{seen:?}");
        assert!(matches!(last.claim("key", HOUR).unwrap(), Claimed::Won(_)));
        let claim = inspector.claim_on(ClaimKind::Alone, b"key").unwrap().unwrap();
        assert_eq!((claim.seat, claim.winner), (1, Winner::Alive));
        let regions = inspector.regions();
        assert!(regions.iter().all(|region| region.bytes() > 0), "{regions:?}");
    }

    fn a_new_worker_has_counted_nothing() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let counts = counters(&counts(&bus, &worker));
        assert!(counts.iter().all(|(name, count)| *count == u64::from(*name == "incarnation")), "{counts:?}");
    }

    fn posts_move_posted_and_fragments_and_nothing_else() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let other = bus.join_with(&quiet()).unwrap();
        let unmoved = moved(&bus, &other, || {
            assert_eq!(moved(&bus, &worker, || drop(worker.post(("s", "e"), b""))), [("posted", 1)]);
            let unique = || drop(worker.event(("s", "e")).unique("key").post(b""));
            assert_eq!(moved(&bus, &worker, unique), [("posted", 1)]);
            let before = bus.next_id();
            let large = moved(&bus, &worker, || drop(worker.post(("s", "e"), [0; 2000])));
            assert_eq!(large, [("posted", 1), ("fragments", bus.next_id() - before)]);
            assert_eq!(moved(&bus, &worker, || drop(worker.post(("", "e"), b""))), []);
            assert_eq!(moved(&bus, &worker, || drop(worker.post(("s", "e"), vec![0; 1 << 20]))), []);
            assert_eq!(moved(&bus, &worker, || worker.post_local(("s", "e"), ()).unwrap()), []);
        });
        assert_eq!(unmoved, []);
    }

    fn reservations_move_reservations_committed_and_posted() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let mut reservation = None;
        assert_eq!(moved(&bus, &worker, || reservation = worker.reserve().ok()), [("reservations", 1)]);
        assert_eq!(counts(&bus, &worker).reserved, Some(0));
        let committed = moved(&bus, &worker, || drop(reservation.as_mut().unwrap().commit(("s", "e"), b"")));
        assert_eq!(committed, [("posted", 1), ("committed", 1)]);
        assert_eq!(counts(&bus, &worker).reserved, None);
        assert_eq!(moved(&bus, &worker, || drop(worker.reserve().unwrap())), [("reservations", 1)]);
    }

    fn deliveries_move_delivered_skipped_and_failed() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().on_report(|_| ())).unwrap();
        let sender = bus.join_with(&quiet()).unwrap();
        worker.on(Scope::source("s"), |event: &Event<'_>| {
            assert_ne!(event.event(), "panics");
            if event.event() == "fails" { Err("no") } else { Ok(()) }
        }).unwrap();
        let _second = Log::of(&worker, Scope::source("s"));
        let did = moved(&bus, &worker, || {
            for event in ["works", "works", "fails", "panics"] {
                sender.post(("s", event), b"").unwrap();
            }
            sender.post(("unwanted", "e"), b"").unwrap();
            poll(&worker);
        });
        assert_eq!(did, [("delivered", 4), ("skipped", 1), ("failed", 2)], "events count once, handlers each");
        let did = moved(&bus, &worker, || {
            for event in ["works", "fails", "panics"] {
                worker.post_local(("s", event), ()).unwrap();
            }
            poll(&worker);
        });
        assert_eq!(did, [("delivered", 3), ("failed", 2)], "local events count as well");
        let local = moved(&bus, &worker, || {
            worker.post_local(("s", "works"), ()).unwrap();
            poll(&worker);
        });
        assert_eq!(local, [("delivered", 1)]);
        assert_eq!(moved(&bus, &worker, || _ = poll(&worker)), [], "an idle poll stores nothing");
    }

    fn being_lapped_moves_missed_and_lagged() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().on_report(|_| ())).unwrap();
        let sender = bus.join_with(&quiet()).unwrap();
        let _log = Log::of(&worker, Scope::All);
        let mut polled = (0, 0);
        let did = moved(&bus, &worker, || {
            for _ in 0..1000 {
                sender.post(("s", "e"), b"").unwrap();
            }
            polled = poll(&worker);
        });
        assert_eq!(did, [("delivered", polled.0), ("missed", polled.1), ("lagged", 1)]);
        assert_eq!(polled.0 + polled.1, 1000);
    }

    fn waiting_for_a_reserved_id_moves_waited_and_giving_it_up_voided() {
        let (_name, bus) = bus(&small());
        let ms = Duration::from_millis(1);
        let worker = bus.join_with(&quiet().wait_interval(ms).wait_max(ms * 2)).unwrap();
        let other = bus.join_with(&quiet()).unwrap();
        let reserver = bus.join_with(&quiet()).unwrap();
        let _reservation = reserver.reserve().unwrap();
        assert_eq!(moved(&bus, &worker, || _ = poll(&worker)), [("voided", 1), ("waited", 1)]);
        assert_eq!(moved(&bus, &other, || _ = poll(&other)), [], "it was decided before");
    }

    fn sleepers_move_wakes_of_the_sender_and_wakeups_of_the_sleeper() {
        let (_name, bus) = bus(&small());
        let sender = bus.join_with(&quiet()).unwrap();
        let child = Child::fork(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            stop_here();
            assert!(worker.wait(HOUR).unwrap());
            stop_here();
            poll(&worker);
            assert!(worker.wait(HOUR).unwrap());
            stop_here();
        });
        child.await_stop();
        let wakeups = || of_seat(&bus.stats().unwrap(), 1).wakeups;
        assert_eq!(moved(&bus, &sender, || drop(sender.post(("s", "e"), b""))), [("posted", 1)], "it woke one");
        child.go_on();
        child.await_stop();
        assert_eq!(wakeups(), 0, "there was news: it had no need to sleep");
        child.go_on();
        eventually("it sleeps", || child.sleeps());
        let woke = moved(&bus, &sender, || drop(sender.post(("s", "e"), b"")));
        assert_eq!(woke, [("posted", 1), ("wakes", 1)]);
        child.await_stop();
        assert_eq!(wakeups(), 1);
    }

    fn claims_move_won_lost_full_late_and_released() {
        let (_name, bus) = bus(&small().claims(1));
        let entries = bus.stats().unwrap().sizes.bucket_entries;
        let worker = bus.join_with(&quiet()).unwrap();
        let mut claim = None;
        let won = moved(&bus, &worker, || {
            let Claimed::Won(won) = worker.claim("key", HOUR).unwrap() else { panic!("not won") };
            claim = Some(won);
        });
        assert_eq!(won, [("claims_won", 1)]);
        assert_eq!(bus.stats().unwrap().claims_held, 1);
        assert_eq!(moved(&bus, &worker, || drop(worker.claim("key", HOUR))), [("claims_lost", 1)]);
        assert_eq!(moved(&bus, &worker, || drop(worker.release(&claim.unwrap()))), [("claims_released", 1)]);
        assert_eq!(bus.stats().unwrap().claims_held, 0);
        assert_eq!(moved(&bus, &worker, || drop(worker.release(&claim.unwrap()))), []);
        for i in 0..entries {
            drop(worker.claim(i.to_le_bytes(), HOUR));
        }
        assert_eq!(moved(&bus, &worker, || drop(worker.claim("key", HOUR))), [("claims_full", 1)]);
        assert_eq!(bus.stats().unwrap().claims_held, entries);
    }

    fn unique_events_move_the_claims_of_who_reaches_them() {
        let (_name, bus) = bus(&small().claims(1));
        let entries = bus.stats().unwrap().sizes.bucket_entries;
        let workers = [(); 2].map(|()| bus.join_with(&quiet().on_report(|_| ())).unwrap());
        let _logs = workers.each_ref().map(|worker| Log::of(worker, Scope::All));
        for i in 0..=entries {
            let key = i.to_le_bytes();
            let unique = Unique::key(&key).ttl(Duration::from_nanos(1));
            workers[0].event(("s", "e")).unique(unique).post(b"").unwrap();
        }
        let won = moved(&bus, &workers[0], || _ = poll(&workers[0]));
        assert_eq!(won, [("delivered", entries + 1), ("claims_won", entries + 1)]);
        let lost = moved(&bus, &workers[1], || _ = poll(&workers[1]));
        assert_eq!(lost, [("claims_lost", entries), ("claims_late", 1)]);
    }

    fn a_malformed_event_moves_corrupt_is_reported_and_what_is_behind_it_arrives() {
        let (name, bus) = bus(&small());
        let reports = Reports::default();
        let (worker, log) = listener(&bus, &reports.of(quiet()));
        let mark = b"a-payload-that-is-found-again";
        worker.post(("s", "e"), mark).unwrap();
        worker.post(("s", "e"), b"after").unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap();
        // Ones over everything before the payload, except its block's head of 32 bytes.
        let block = (at - 33) / 64 * 64;
        file.write_all_at(&vec![0xff; at - block - 32], (block + 32) as u64).unwrap();
        let did = moved(&bus, &worker, || assert_eq!(poll(&worker), (1, 0)));
        assert_eq!(did, [("delivered", 1), ("corrupt", 1)]);
        assert_eq!(log.texts(), ["after"]);
        let texts = reports.texts();
        assert!(texts.len() == 1 && texts[0].contains("id 0") && texts[0].contains("malformed"), "{texts:?}");
    }

    fn a_seat_counts_its_holders_and_those_that_died() {
        let (_name, bus) = bus(&small());
        let first = bus.join_with(&quiet()).unwrap();
        let seat = first.seat();
        drop(first);
        for (incarnation, adopted) in [(2, 0), (3, 1), (4, 2)] {
            let child = Child::fork(|| {
                let worker = bus.join_with(&quiet()).unwrap();
                assert_eq!(worker.seat(), seat);
                worker.post(("s", "e"), b"").unwrap();
                stop_here();
            });
            child.await_stop();
            let counts = of_seat(&bus.stats().unwrap(), seat);
            assert_eq!((counts.incarnation, counts.adopted, counts.posted), (incarnation, adopted, 1));
            assert!(counts.alive && counts.pid == child.pid());
            child.kill();
            let counts = of_seat(&bus.stats().unwrap(), seat);
            assert!(!counts.alive, "the dead are shown until their seat is taken");
        }
    }

    fn who_left_in_order_is_not_shown() {
        let (_name, bus) = bus(&small());
        let (worker, poster) = (bus.join_with(&quiet()).unwrap(), bus.publisher().unwrap());
        assert_eq!(bus.stats().unwrap().workers.len(), 2);
        drop((worker, poster));
        assert_eq!(bus.stats().unwrap().workers.len(), 0);
    }

    fn stats_say_who_a_worker_is() {
        let (_name, bus) = bus(&small());
        let before = SystemTime::now();
        let worker = bus.join_with(&quiet().label("web-ä-1")).unwrap();
        let poster = bus.publisher().unwrap();
        let stats = bus.stats().unwrap();
        let counts = of_seat(&stats, worker.seat());
        assert!(counts.alive);
        assert_eq!((counts.pid, &*counts.label), (std::process::id(), "web-ä-1"));
        assert!(counts.joined_at >= before - Duration::from_secs(1) && counts.joined_at <= SystemTime::now());
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let started: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
        assert_eq!(counts.start_time, started);
        assert_eq!((counts.cursor, counts.lag), (Some(0), 0));
        let of_poster = of_seat(&stats, poster.seat());
        assert_eq!((of_poster.cursor, of_poster.lag), (None, 0), "it reads nothing");
    }

    fn a_label_that_is_too_long_is_cut_at_a_character() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().label("ä".repeat(40))).unwrap();
        assert_eq!(counts(&bus, &worker).label, "ä".repeat(24));
        let odd = bus.join_with(&quiet().label(format!("x{}", "ä".repeat(40)))).unwrap();
        assert_eq!(counts(&bus, &odd).label, format!("x{}", "ä".repeat(23)));
    }

    fn stats_say_how_far_a_worker_is() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        assert_eq!(counts(&bus, &worker).last_poll, None);
        for _ in 0..10 {
            worker.post(("s", "e"), b"").unwrap();
        }
        let _log = Log::of(&worker, Scope::All);
        assert_eq!((counts(&bus, &worker).cursor, counts(&bus, &worker).lag), (Some(0), 10));
        let _ = worker.poll_at_most(4).unwrap();
        let behind = counts(&bus, &worker);
        assert_eq!((behind.cursor, behind.lag), (Some(4), 6));
        let first = behind.last_poll.unwrap();
        assert!(first < Duration::from_secs(60), "{first:?}");
        thread::sleep(Duration::from_millis(20));
        assert!(counts(&bus, &worker).last_poll.unwrap() > first);
        poll(&worker);
        let stats = bus.stats().unwrap();
        assert_eq!((stats.next_id, stats.oldest_id), (10, 0));
        for _ in 0..100 {
            worker.post(("s", "e"), b"").unwrap();
        }
        let stats = bus.stats().unwrap();
        assert_eq!((stats.next_id, stats.oldest_id), (110, 46));
    }

    fn stat_is_for_anybody_by_name_and_disturbs_nobody() {
        let (name, bus) = bus(&small().seats(2));
        let (worker, _log) = listener(&bus, &quiet().label("web"));
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        let full = bus.join_with(&quiet()).unwrap();
        let before = bus.stats().unwrap();
        let modified = fs::metadata(name.path()).unwrap().modified().unwrap();
        in_child(|| {
            for _ in 0..3 {
                let stats = small().inspect(&name).and_then(|inspector| inspector.stats()).unwrap();
                assert_eq!(stats.name, format!("/{}", &*name));
                assert_eq!(stats.sizes.size, fs::metadata(name.path()).unwrap().len());
                assert_eq!((stats.sizes.capacity, stats.sizes.seats, stats.creator_pid), (64, 2, worker_pid(&stats)));
                assert_eq!(stats.workers.len(), 2, "it needs no seat");
                let counts = of_seat(&stats, worker.seat());
                assert_eq!((&*counts.label, counts.posted, counts.delivered), ("web", 1, 1));
            }
        });
        assert_eq!(fs::metadata(name.path()).unwrap().modified().unwrap(), modified);
        let after = bus.stats().unwrap();
        for seat in [worker.seat(), full.seat()] {
            assert_eq!(counters(&of_seat(&after, seat)), counters(&of_seat(&before, seat)));
        }
        drop((worker, full));
        drop(bus);
        let look = || small().inspect(&name).and_then(|inspector| inspector.stats());
        assert_eq!(look().unwrap().workers.len(), 0);
        assert!(name.path().exists());
        seqcast::unlink(&name).unwrap();
        assert_error!(look(), Cause::NotFound { .. });
    }
}

fn worker_pid(stats: &seqcast::Stats) -> u32 {
    stats.workers[0].pid
}
