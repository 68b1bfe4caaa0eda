//! Guarantees of docs/survival.md that no other test shows: segments unlinked, recreated, truncated and overwritten
//! under running workers, a /dev/shm that fills up, pid namespaces, exec, and workers that leave in the middle of an
//! operation.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seqcast::{Bus, Cause, Claimed, Event, Polled, Scope, Worker, WorkerOptions};
use seqcast_testkit::{
    Child, HOUR, Log, alone, assert_error, bus, counts, error, eventually, in_child, listener, poll, quiet,
    shared_words, small, stop_here,
};

/// Forks a child that joins, reports it, and sleeps until it is killed.
fn sleeper(bus: &Bus) -> Child {
    let child = Child::fork(|| {
        let _worker = bus.join_with(&quiet().label("sleeper")).unwrap();
        stop_here();
        loop {
            std::thread::sleep(HOUR);
        }
    });
    child.await_stop();
    child.go_on();
    child
}

/// Waits for the child's end. Returns the signal that ended it.
fn ended_by(child: Child) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `status` is writable for the call; the child is ours and not reaped yet.
    let waited = unsafe { libc::waitpid(child.pid() as libc::pid_t, &raw mut status, 0) };
    assert_eq!(waited, child.pid() as libc::pid_t);
    std::mem::forget(child);
    libc::WIFSIGNALED(status).then_some(libc::WTERMSIG(status))
}

/// Returns `true` if the child has ended; it is not reaped.
fn has_ended(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
    stat.rsplit_once(')').unwrap().1.starts_with(" Z")
}

/// Gives the calling process, a forked child, its own file system in place of /dev/shm. Returns `false` if that is not
/// permitted.
fn mount_own_shm(options: &CStr) -> bool {
    let (none, tmpfs, at) = (c"none".as_ptr(), c"tmpfs".as_ptr(), c"/dev/shm".as_ptr());
    // SAFETY: system calls on C strings; they affect only this child.
    let done = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, ptr::null()) == 0
            && libc::mount(tmpfs, at, tmpfs, 0, options.as_ptr().cast()) == 0
    };
    if !done {
        eprintln!("skipped: no mount namespace here: {}", io::Error::last_os_error());
    }
    done
}

/// Posts, polls and claims so much that every block of a [`small`] segment is written.
fn use_everything(bus: &Bus, worker: &Worker) {
    let log = Log::of(worker, Scope::All);
    for i in 0..200_u64 {
        worker.post(("s", "e"), vec![i as u8; 250]).unwrap();
        assert_eq!(poll(worker), (1, 0));
        let Claimed::Won(claim) = worker.claim(i.to_le_bytes(), HOUR).unwrap() else { panic!("{i}: not won") };
        assert!(worker.release(&claim).unwrap());
    }
    assert_eq!(log.len(), 200);
    assert!(bus.audit().unwrap().is_clean());
}

/// A worker that has claimed two unique events and cannot deliver them, because it waits for its own reserved id; and a
/// log of what it has run.
fn holding_unique_events(bus: &Bus) -> (Worker, Log, seqcast::Reservation<Worker>) {
    let worker = bus.join_with(&quiet()).unwrap();
    let log = Log::of(&worker, Scope::source("s"));
    let reservation = worker.reserve().unwrap();
    worker.event(("s", "first")).unique("first").ttl(HOUR).post(b"1").unwrap();
    worker.post(("s", "between"), b"").unwrap();
    worker.event(("s", "second")).unique("second").ttl(HOUR).post(b"2").unwrap();
    assert_eq!(poll(&worker), (0, 0));
    assert_eq!(counts(bus, &worker).claims_won, 2, "the test needs them to be claimed");
    (worker, log, reservation)
}

alone! {
    fn g9_a_worker_that_leaves_runs_the_unique_events_that_it_has_claimed() {
        for by_drop in [false, true] {
            let (_name, bus) = bus(&small());
            let other = bus.join_with(&quiet().wait_max(Duration::from_millis(10))).unwrap();
            let others = Log::of(&other, Scope::source("s"));
            let (worker, log, reservation) = holding_unique_events(&bus);
            assert_eq!(poll(&other), (1, 0));
            assert_eq!(others.drain()[0].event, "between", "the others are the first worker's");
            if by_drop {
                drop(reservation);
                drop(worker);
            } else {
                worker.leave().unwrap();
                drop(reservation);
            }
            assert_eq!(log.events(), ["first", "second"], "by drop: {by_drop}");
            assert_eq!(poll(&other), (0, 0), "by drop: {by_drop}");
        }
    }

    fn g9_a_handler_that_leaves_lets_the_unique_events_that_were_claimed_run() {
        let (_name, bus) = bus(&small());
        let (worker, log, reservation) = holding_unique_events(&bus);
        // `first` is the last event that this poll delivers; its handler leaves.
        let slot = std::sync::Arc::new(std::sync::Mutex::new(Some(worker.clone())));
        let leaving = std::sync::Arc::clone(&slot);
        let leave = move |_: &Event<'_>| match leaving.lock().unwrap().take() {
            Some(worker) => worker.leave(),
            None => Ok(()),
        };
        worker.on(Scope::events("s", ["first"]), leave).unwrap();
        drop(reservation);
        assert!(matches!(worker.poll_at_most(1).unwrap(), Polled::Done { delivered: 1, missed: 0, .. }));
        assert_error!(worker.poll(), Cause::Left);
        assert_eq!(log.events(), ["first", "second"], "no other worker would run it");
        drop(worker);
        assert_eq!(log.len(), 2);
    }

    fn g9_a_handler_that_leaves_while_its_worker_leaves_ends_it_once() {
        let (_name, bus) = bus(&small());
        let witness = bus.join_with(&quiet().wait_max(Duration::from_millis(10))).unwrap();
        let stopped = Log::of(&witness, Scope::events("seqcast", ["stopping"]));
        let (worker, log, reservation) = holding_unique_events(&bus);
        worker.reconfigure(|options| options.announce(true)).unwrap();
        let leaving = worker.clone();
        worker.on(Scope::events("s", ["first"]), move |_: &Event<'_>| leaving.clone().leave()).unwrap();
        worker.clone().leave().unwrap();
        assert_eq!(log.events(), ["first", "second"], "claimed events did not run after the worker left");
        assert_error!(worker.poll(), Cause::Left);
        drop(reservation);
        poll(&witness);
        assert_eq!(stopped.len(), 1, "it announces its end once");
    }

    fn g7_a_name_that_is_unlinked_under_running_workers_parts_nobody_who_is_there() {
        let (name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let child = Child::fork(|| {
            let own = Bus::open(&name).unwrap().join_with(&quiet()).unwrap();
            stop_here();
            own.post(("s", "after"), b"").unwrap();
            assert_eq!(poll(&own).1, 0);
        });
        child.await_stop();
        seqcast::unlink(&name).unwrap();
        assert_error!(Bus::open(&name), Cause::NotFound { .. });
        let log = Log::of(&worker, Scope::All);
        child.go_on();
        assert!(child.ended_well());
        poll(&worker);
        assert_eq!(log.events(), ["after"]);
        // Existing handles can still join; so can children of their processes.
        in_child(|| drop(bus.join_with(&quiet()).unwrap()));
        assert_error!(bus.unlink(), Cause::NotFound { .. });
    }

    fn g7_a_name_created_again_makes_a_second_bus_and_mixes_nothing() {
        let (name, old) = bus(&small());
        let old_worker = old.join_with(&quiet()).unwrap();
        fs::remove_file(name.path()).unwrap();
        let new = small().create(&name).unwrap();
        let new_worker = new.join_with(&quiet()).unwrap();
        let (old_log, new_log) = (Log::of(&old_worker, Scope::All), Log::of(&new_worker, Scope::All));
        old_worker.post(("s", "old"), b"").unwrap();
        new_worker.post(("s", "new"), b"").unwrap();
        poll(&old_worker);
        poll(&new_worker);
        assert_eq!((old_log.events(), new_log.events()), (vec!["old".to_owned()], vec!["new".to_owned()]));
        assert_error!(old.unlink(), Cause::Replaced { .. }, "it took the new one's name away");
        new.unlink().unwrap();
    }

    fn a_segment_cut_off_under_a_worker_is_sigbus_and_a_new_one_is_refused() {
        let (name, bus) = bus(&small());
        let child = Child::fork(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            stop_here();
            let _ = worker.post(("s", "e"), b"");
        });
        child.await_stop();
        File::options().write(true).open(name.path()).unwrap().set_len(4096).unwrap();
        child.go_on();
        assert_eq!(ended_by(child), Some(libc::SIGBUS), "the page says that this cannot be survived");
        assert_error!(Bus::open(&name), Cause::Truncated { .. });
        // An anonymous segment cannot be truncated.
        let anonymous = small().anonymous().unwrap();
        drop(anonymous.join().unwrap());
    }

    fn g10_a_header_overwritten_after_opening_is_not_read_again() {
        let (name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let tail = seqcast::inspect::fields().into_iter().find(|field| field.name == "tail").unwrap();
        let file = File::options().write(true).open(name.path()).unwrap();
        file.write_all_at(&vec![0xa5; tail.offset], 0).unwrap();
        use_everything(&bus, &worker);
        drop(bus.join().unwrap());
        assert_error!(Bus::open(&name), Cause::Foreign { .. });
    }

    fn g10_a_segment_overwritten_with_zeros_is_an_error_or_silence_and_never_a_crash() {
        let (name, bus) = bus(&small());
        let child = Child::fork(|| {
            let (worker, _log) = listener(&bus, &quiet());
            stop_here();
            for _ in 0..500 {
                let _ = worker.post(("s", "e"), b"");
                let _ = worker.poll_at_most(16);
                let _ = worker.claim("k", Duration::from_millis(1));
            }
        });
        child.await_stop();
        let file = File::options().write(true).open(name.path()).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        file.write_all_at(&vec![0; len], 0).unwrap();
        child.go_on();
        assert!(child.ended_well(), "it crashed");
    }

    fn a_dev_shm_that_fills_up_later_costs_a_segment_nothing() {
        in_child(|| {
            if !mount_own_shm(c"size=2m") {
                return;
            }
            let bus = small().create("survival").unwrap();
            let worker = bus.join_with(&quiet()).unwrap();
            let filled = fs::write("/dev/shm/filler", vec![1; 4 << 20]);
            assert_eq!(filled.unwrap_err().raw_os_error(), Some(libc::ENOSPC), "the test needs it to be full");
            use_everything(&bus, &worker);
            let another = error(small().create("another"));
            assert!(matches!(another.cause(), Cause::NoSpace { .. }), "{another}");
        });
    }

    fn a_pid_is_no_proof_of_life_nor_of_death() {
        let (name, bus) = bus(&small().seats(2));
        let child = sleeper(&bus);
        let seat = u64::from(bus.stats().unwrap().workers[0].seat);
        // The seat names a process that does not exist, and then a live one: our own parent.
        let identity = seqcast::inspect::fields().into_iter().find(|field| field.name == "pid").unwrap();
        let file = File::options().write(true).open(name.path()).unwrap();
        for pid in [u64::from(u32::MAX), u64::from(std::os::unix::process::parent_id())] {
            let at = 2048 + seat * 640 + identity.offset as u64;
            file.write_all_at(&pid.to_ne_bytes(), at).unwrap();
            let stats = bus.stats().unwrap();
            assert_eq!((u64::from(stats.workers[0].pid), stats.workers[0].alive), (pid, true));
            in_child(|| {
                let worker = bus.join().unwrap();
                assert_ne!(u64::from(worker.seat()), seat, "a seat was taken from the living");
            });
        }
        child.kill();
        assert!(!bus.stats().unwrap().workers[0].alive, "held for the dead");
        in_child(|| {
            let seats = [bus.publisher().unwrap(), bus.publisher().unwrap()];
            assert_eq!(seats.len(), 2);
        });
    }

    fn g7_workers_of_several_pid_namespaces_know_who_lives() {
        let (_name, bus) = bus(&small().seats(4));
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source("s"));
        // Tells whether namespaces are permitted, and how many events the two took for their own and for the other's.
        let permitted = shared_words(3);
        // In each namespace the worker is process 1.
        let contained = |event: &'static str| {
            Child::fork(|| {
                // SAFETY: a system call that changes this child only.
                if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
                    eprintln!("skipped: no pid namespace here: {}", io::Error::last_os_error());
                    return;
                }
                permitted[0].store(1, Relaxed);
                in_child(|| {
                    let own = bus.join_with(&quiet()).unwrap();
                    assert_eq!(std::process::id(), 1);
                    own.on(Scope::source("s"), move |event: &Event<'_>| {
                        assert_eq!(event.pid(), Some(1));
                        permitted[if event.is_own() { 1 } else { 2 }].fetch_add(1, Relaxed);
                    })
                    .unwrap();
                    own.post(("s", event), b"").unwrap();
                    loop {
                        let _ = own.poll().unwrap();
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            })
        };
        let children = [contained("first"), contained("second")];
        eventually("both posted, or may not", || {
            poll(&worker);
            log.len() == 2 || (permitted[0].load(Relaxed) == 0 && children.iter().all(has_ended))
        });
        if permitted[0].load(Relaxed) == 0 {
            return;
        }
        let stats = bus.stats().unwrap();
        let ones: Vec<_> = stats.workers.iter().filter(|worker| worker.pid == 1).collect();
        assert!(ones.len() == 2 && ones.iter().all(|one| one.alive), "{ones:?}");
        eventually("both know their own events, and an earlier joiner also knows the other one", || {
            permitted[1].load(Relaxed) == 2 && permitted[2].load(Relaxed) >= 1
        });
        let [first, second] = children;
        // When the process outside dies, the one inside dies too, by the signal for a parent's death.
        first.kill();
        eventually("one of the two is known to be dead", || {
            bus.stats().unwrap().workers.iter().filter(|worker| worker.alive).count() == 2
        });
        let seats: Vec<_> = (0..2).map(|_| bus.publisher().unwrap()).collect();
        assert_error!(bus.publisher(), Cause::NoSeat { .. }, "the other's seat was taken");
        drop((seats, second));
    }

    fn an_audit_tells_a_block_that_is_lost_from_one_that_is_named_twice() {
        let (name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        worker.post(("s", "e"), b"").unwrap();
        let audit = bus.audit().unwrap();
        assert!(audit.is_clean());
        assert_eq!((audit.pools[0].pool, audit.pools[0].blocks, audit.held_seats), ("ring", 64 + 16, 1));
        // Makes the second and third cell name the block of the first.
        let file = File::options().read(true).write(true).open(name.path()).unwrap();
        let cells = 2048 + 16 * 640;
        let mut words = [[0; 8]; 3];
        for (i, word) in words.iter_mut().enumerate() {
            file.read_exact_at(word, cells + i as u64 * 8).unwrap();
        }
        let [first, second, third] = words.map(u64::from_ne_bytes);
        let block = (1 << 20) - 1;
        for (at, word) in [(8, second), (16, third)] {
            file.write_all_at(&(word & !block | first & block).to_ne_bytes(), cells + at).unwrap();
        }
        let audit = bus.audit().unwrap();
        assert!(!audit.is_clean());
        let found: Vec<_> = audit.pools.iter().map(|pool| (pool.pool, pool.leaked, pool.shared)).collect();
        assert_eq!(found, [("ring", 2, 1), ("claims", 0, 0), ("slots", 0, 0)]);
    }

    fn g7_an_audit_disturbs_nobody_who_joins() {
        const JOINS: usize = 5000;
        // One seat is free at any time, so a join that finds it busy for a moment finds none.
        let (_name, bus) = bus(&small().seats(1));
        let audits = shared_words(1);
        let auditor = Child::fork(|| {
            loop {
                bus.audit().unwrap();
                audits[0].fetch_add(1, Relaxed);
            }
        });
        eventually("audits are made", || audits[0].load(Relaxed) > 0);
        let before = audits[0].load(Relaxed);
        for _ in 0..JOINS {
            drop(bus.join_with(&quiet()).unwrap());
        }
        eventually("audits were made meanwhile", || audits[0].load(Relaxed) > before);
        auditor.kill();
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g7_exec_frees_the_seat() {
        let (_name, bus) = bus(&small().seats(1));
        let child = Child::fork(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            worker.post(("s", "before"), b"").unwrap();
            stop_here();
            // Nothing is dropped: the program is gone with all its values.
            panic!("{}", Command::new("sleep").arg("3600").exec());
        });
        child.await_stop();
        assert_error!(bus.join(), Cause::NoSeat { .. });
        child.go_on();
        let mut seat = None;
        eventually("the seat is free", || {
            seat = bus.publisher().ok();
            seat.is_some()
        });
        assert!(!has_ended(&child), "the process lives on, as another program");
    }

    fn g8_a_worker_stopped_for_many_laps_is_told_what_it_missed_and_keeps_its_seat() {
        let (_name, bus) = bus(&small().capacity(8).seats(2));
        let said = shared_words(2);
        let child = Child::fork(|| {
            let (own, log) = listener(&bus, &quiet());
            stop_here();
            let (delivered, missed) = poll(&own);
            assert_eq!(delivered as usize, log.len());
            said[0].store(delivered, Relaxed);
            said[1].store(missed, Relaxed);
        });
        child.await_stop();
        let worker = bus.join_with(&quiet()).unwrap();
        for _ in 0..1000 {
            worker.post(("s", "e"), b"").unwrap();
        }
        assert_error!(bus.join(), Cause::NoSeat { .. }, "late does not mean dead");
        child.go_on();
        assert!(child.ended_well());
        let (delivered, missed) = (said[0].load(Relaxed), said[1].load(Relaxed));
        assert_eq!(delivered + missed, 1000, "G4: exact");
        assert!(delivered > 0);
    }

    fn g7_a_reload_has_old_and_new_side_by_side() {
        let (_name, bus) = bus(&small().seats(8));
        let old: Vec<Child> = (0..4).map(|_| sleeper(&bus)).collect();
        let new: Vec<Child> = (0..4).map(|_| sleeper(&bus)).collect();
        let refusal = error(bus.join());
        let Cause::NoSeat { seats: 8, holders, .. } = refusal.cause() else { panic!("a ninth seat") };
        assert!(holders.iter().all(|holder| holder.label == "sleeper"));
        drop(old);
        let worker = bus.join_with(&WorkerOptions::new().label("after the reload")).unwrap();
        assert_eq!(counts(&bus, &worker).adopted, 1);
        assert_eq!(bus.stats().unwrap().workers.iter().filter(|worker| worker.alive).count(), 5);
        drop(new);
    }
}

/// docs/survival.md names its tests as `file::name`.
#[test]
fn every_test_that_the_page_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/survival.md")).unwrap();
    let named: Vec<_> = page.split('`').filter_map(|code| code.split_once("::")).collect();
    let keyword_of = |file: &str| match file.rsplit_once('.')?.1 {
        "rs" => Some("fn"),
        "c" => Some("void"),
        "py" => Some("def"),
        _ => None,
    };
    let named: Vec<_> = named.into_iter().filter_map(|(file, test)| Some((file, keyword_of(file)?, test))).collect();
    assert!(named.len() > 30, "{named:?}");
    for (file, function, test) in named {
        match fs::read_to_string(root.join(file)) {
            Ok(source) => assert!(source.contains(&format!("{function} {test}(")), "{file} has no test {test}"),
            // The published package contains the library alone.
            Err(_) => {
                let elsewhere = ["loom-tests/", "crates/", "bindings/"];
                assert!(elsewhere.iter().any(|folder| file.starts_with(folder)), "{file} is not there");
            }
        }
    }
}
