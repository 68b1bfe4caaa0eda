//! G12: handles in forked children.

use std::fs;
use std::time::Duration;

use seqcast::library;
use seqcast::{Cause, Claimed, Event, Scope, WorkerOptions};
use seqcast_testkit::{
    Child, HOUR, Log, Name, alone, assert_error, bus, counts, error, eventually, in_child, listener, poll, quiet,
    shared_words, sleepers, small, stop_here, threads,
};
use std::sync::atomic::Ordering::Relaxed;

/// Makes the kernel answer `errno` when this thread asks for pages that are wiped on fork, and do nothing; 0 reports
/// success. Returns `false` where there are no such filters.
fn answer_wipe_on_fork_with(errno: u32) -> bool {
    const MADV_WIPEONFORK: u32 = libc::MADV_WIPEONFORK as u32;
    /// Offset in `struct seccomp_data`: the third argument's lower half, on the little-endian machines that these tests
    /// run on.
    const NUMBER: u32 = 0;
    const ADVICE: u32 = 16 + 2 * 8;
    let load = |k| libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k };
    let unless = |k, jf| libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt: 0, jf, k };
    let answer = |k| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k };
    let mut filter = [
        load(NUMBER),
        unless(libc::SYS_madvise as u32, 3),
        load(ADVICE),
        unless(MADV_WIPEONFORK, 1),
        answer(libc::SECCOMP_RET_ERRNO | errno),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: plain numbers, and a program that outlives the call; it changes only the results for this thread and its
    // children.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if !done {
        eprintln!("skipped: no system call filters here: {}", std::io::Error::last_os_error());
    }
    done
}

/// The guarantees for forked children, without a kernel that wipes pages.
fn children_are_known() {
    let (name, bus) = bus(&small().unlink_on_drop(true));
    let (worker, log) = listener(&bus, &quiet());
    in_child(|| {
        assert_error!(worker.post(("s", "e"), b""), Cause::Forked);
        assert_error!(worker.poll(), Cause::Forked);
        let own = bus.join_with(&quiet()).unwrap();
        own.post(("s", "child"), b"").unwrap();
        in_child(|| {
            assert_error!(own.post(("s", "e"), b""), Cause::Forked);
            assert_error!(worker.post(("s", "e"), b""), Cause::Forked);
            bus.join_with(&quiet()).unwrap().post(("s", "grandchild"), b"").unwrap();
        });
        drop((worker.clone(), own));
    });
    let child = Child::fork(|| drop((worker, bus)));
    assert!(child.ended_well());
    assert!(name.path().exists(), "a child unlinked its parent's segment");
    let bus = small().open(&name).unwrap();
    bus.join_with(&quiet()).unwrap().post(("s", "other"), b"").unwrap();
    assert_eq!(log.len(), 0);
    assert_eq!(bus.next_id(), 3);
}

alone! {
    fn g12_children_are_known_where_the_kernel_only_says_that_it_wipes_pages() {
        if answer_wipe_on_fork_with(0) {
            children_are_known();
        }
    }

    fn g12_children_are_known_where_the_kernel_cannot_wipe_pages() {
        if answer_wipe_on_fork_with(libc::EINVAL as u32) {
            children_are_known();
        }
    }

    fn g12_every_call_on_an_inherited_handle_says_forked_and_does_nothing() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let mut poster = bus.publisher().unwrap();
        let Claimed::Won(claim) = worker.claim("key", HOUR).unwrap() else { panic!("not won") };
        worker.post(("s", "before"), b"").unwrap();
        let mut reservation = worker.reserve().unwrap();
        in_child(|| {
            let results = [
                worker.post(("s", "e"), b"").map(drop),
                worker.post_local(("s", "e"), ()),
                worker.event(("s", "e")).unique("key").post(b"").map(drop),
                worker.poll().map(drop),
                worker.poll_at_most(1).map(drop),
                worker.wait(HOUR).map(drop),
                worker.reserve().map(drop),
                worker.publisher().map(drop),
                worker.claim("other", HOUR).map(drop),
                worker.claim("key", HOUR).map(drop),
                worker.release(&claim).map(drop),
                worker.reconfigure(|options| options.label("child")),
                worker.start_poller().map(drop),
                poster.post(("s", "e"), b"").map(drop),
                poster.event(("s", "e")).unique("key").post(b"").map(drop),
                reservation.commit(("s", "e"), b"").map(drop),
                worker.clone().leave(),
            ];
            for (i, result) in results.into_iter().enumerate() {
                assert_error!(result, Cause::Forked, "call {i}");
            }
            assert_eq!(log.len(), 0, "the child ran a handler");
        });
        assert_eq!(bus.next_id(), 2, "the child posted");
        assert_eq!(counts(&bus, &worker).label, "");
        let committed = reservation.commit(("s", "reserved"), b"").unwrap();
        assert_eq!(committed, 1, "the child gave the parent's reservation up");
        worker.post(("s", "after"), b"").unwrap();
        poster.post(("s", "of the poster"), b"").unwrap();
        assert_eq!(poll(&worker), (4, 0));
        assert_eq!(log.events(), ["before", "reserved", "after", "of the poster"]);
        assert!(worker.release(&claim).unwrap(), "the child released the parent's claim");
    }

    fn g12_the_error_says_to_join_in_the_child() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        in_child(|| {
            let text = error(worker.post(("s", "e"), b"")).to_string();
            assert!(text.contains("fork") && text.contains("join"), "{text}");
            assert!(!text.contains("after_fork"), "this call does not exist: {text}");
        });
    }

    fn g12_a_child_joins_by_the_inherited_bus() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let child = Child::fork(|| {
            let own = bus.join_with(&quiet()).unwrap();
            assert_ne!(own.seat(), worker.seat());
            let heard = Log::of(&own, Scope::All);
            own.post(("s", "child"), b"").unwrap();
            stop_here();
            assert_eq!(poll(&own), (2, 0));
            assert_eq!(heard.events(), ["child", "parent"]);
        });
        child.await_stop();
        worker.post(("s", "parent"), b"").unwrap();
        let pid = child.pid();
        child.go_on();
        assert!(child.ended_well());
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.seen().iter().map(|seen| seen.pid.unwrap()).collect::<Vec<_>>(), [pid, std::process::id()]);
    }

    fn g12_a_child_that_drops_everything_and_exits_disturbs_nobody() {
        let (name, bus) = bus(&small().unlink_on_drop(true));
        let (watcher, log) = listener(&bus, &quiet());
        let worker = bus.join_with(&WorkerOptions::new().label("parent")).unwrap();
        let poster = bus.publisher().unwrap();
        let reservation = worker.reserve().unwrap();
        let held = bus.clone();
        let child = Child::fork(|| {
            // Moved in here, so that this process drops them.
            drop((reservation, poster, worker, watcher, held, bus));
            stop_here();
        });
        child.await_stop();
        // In this process they all stay alive, out of reach: look at the segment from outside.
        assert!(name.path().exists(), "the child unlinked the name");
        let other = small().open(&name).unwrap();
        let stats = other.stats().unwrap();
        assert_eq!(stats.next_id, 2, "the child posted");
        assert!(stats.workers.iter().all(|worker| worker.alive && worker.pid == std::process::id()), "{stats:?}");
        assert_eq!(stats.workers.len(), 3);
        assert_eq!(stats.workers[1].reserved, Some(1));
        child.go_on();
        assert!(child.ended_well());
        assert!(name.path().exists(), "the child's exit unlinked the name");
        assert_eq!(other.stats().unwrap().workers.len(), 3);
        assert_eq!(log.len(), 0);
    }

    fn g12_a_childs_end_by_exit_runs_no_destructor_of_the_parents_either() {
        let (name, bus) = bus(&small().unlink_on_drop(true));
        let worker = bus.join_with(&WorkerOptions::new()).unwrap();
        let child = Child::fork(|| {
            let _inherited = (&bus, &worker);
            // With the handlers of `atexit`, unlike `Child`.
            std::process::exit(0);
        });
        assert!(child.ended_well());
        assert!(name.path().exists());
        worker.post(("s", "e"), b"").unwrap();
        assert_eq!(bus.next_id(), 2, "started and ours");
    }

    fn g12_only_the_creator_unlinks_on_drop() {
        let options = small().unlink_on_drop(true);
        let (name, bus) = bus(&options);
        in_child(|| {
            let opened = options.open(&name).unwrap();
            opened.join_with(&quiet()).unwrap().post(("s", "e"), b"").unwrap();
            drop(opened);
            assert!(name.path().exists(), "an opener unlinked it");
            let found = options.open_or_create(&name).unwrap();
            assert!(!found.was_created());
            drop(found);
            assert!(name.path().exists(), "one that found it unlinked it");
        });
        let clone = bus.clone();
        drop(bus);
        assert!(name.path().exists(), "one clone of two unlinked it");
        let worker = clone.join_with(&quiet()).unwrap();
        drop(clone);
        drop(worker);
        assert!(!name.path().exists(), "the creator left it");
    }

    fn g12_a_segment_made_in_a_child_is_the_childs_to_unlink() {
        let name = Name::new();
        in_child(|| {
            let bus = small().unlink_on_drop(true).create(&name).unwrap();
            in_child(|| drop(bus.clone()));
            assert!(name.path().exists());
            drop(bus);
            assert!(!name.path().exists());
        });
    }

    fn g12_without_unlink_on_drop_nobody_unlinks() {
        let (name, bus) = bus(&small());
        drop(bus);
        assert!(name.path().exists());
        assert_eq!(small().open(&name).unwrap().next_id(), 0);
    }

    fn g12_a_grandchild_is_a_forked_child_of_both() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        in_child(|| {
            let own = bus.join_with(&quiet()).unwrap();
            in_child(|| {
                assert_error!(worker.post(("s", "e"), b""), Cause::Forked);
                assert_error!(own.post(("s", "e"), b""), Cause::Forked);
                bus.join_with(&quiet()).unwrap().post(("s", "grandchild"), b"").unwrap();
            });
            own.post(("s", "child"), b"").unwrap();
        });
        worker.post(("s", "parent"), b"").unwrap();
        poll(&worker);
        assert_eq!(log.events(), ["grandchild", "child", "parent"]);
    }

    fn g12_a_fork_inside_a_handler() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let (inside, joining) = (worker.clone(), bus.clone());
        worker.on(Scope::events("s", ["fork"]), move |_: &Event<'_>| {
            in_child(|| {
                assert_error!(inside.poll(), Cause::Forked, "not even recursive");
                joining.join_with(&quiet()).unwrap().post(("s", "child"), b"").unwrap();
            });
        }).unwrap();
        worker.post(("s", "fork"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.events(), ["fork", "child"]);
    }

    fn g12_a_fork_while_another_thread_posts_and_polls() {
        let (_name, bus) = bus(&small().capacity(8192));
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source("s"));
        let stop = std::sync::atomic::AtomicBool::new(false);
        let posted = std::thread::scope(|scope| {
            let busy = scope.spawn(|| {
                let mut posted = 0;
                while !stop.load(Relaxed) {
                    worker.post(("s", "e"), b"").unwrap();
                    poll(&worker);
                    posted += 1;
                }
                posted
            });
            for _ in 0..50 {
                // The locks of the worker may be held at this moment, which for the child means indefinitely.
                in_child(|| {
                    assert_error!(worker.post(("s", "e"), b""), Cause::Forked);
                    assert_error!(worker.poll(), Cause::Forked);
                    bus.join_with(&quiet()).unwrap().post(("other", "e"), b"").unwrap();
                });
            }
            stop.store(true, Relaxed);
            busy.join().unwrap()
        });
        assert_eq!(log.len(), posted);
        assert_eq!(bus.next_id(), posted as u64 + 50);
    }

    fn g12_a_fork_while_another_thread_reconfigures() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    worker.reconfigure(|options| options.timeout(HOUR)).unwrap();
                }
            });
            for _ in 0..200 {
                // The lock around the options may be held at this moment: the check comes first, or this never ends.
                in_child(|| {
                    assert_error!(worker.event(("s", "e")).unique("key").post(b""), Cause::Forked);
                    assert_error!(worker.reconfigure(|options| options), Cause::Forked);
                    assert_error!(worker.start_poller(), Cause::Forked);
                    assert_error!(worker.publisher(), Cause::Forked);
                    drop(worker.options());
                });
            }
            stop.store(true, Relaxed);
        });
    }

    fn g12_a_fork_while_another_thread_registers_handlers_and_posts_to_itself() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let handler = std::sync::Arc::new(|_: &Event<'_>| {});
        let first = worker.register(Scope::All, &handler).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let registration = worker.on(Scope::source("s"), |_: &Event<'_>| {}).unwrap();
                    worker.post_local(("s", "e"), ()).unwrap();
                    assert!(worker.unregister(registration));
                    poll(&worker);
                }
            });
            for _ in 0..200 {
                // Its lock may be held at this moment: the check comes first, or this never ends.
                in_child(|| {
                    assert_error!(worker.on(Scope::All, |_: &Event<'_>| {}), Cause::Forked);
                    assert_error!(worker.register(Scope::All, &handler), Cause::Forked);
                    assert_error!(worker.register_weak(Scope::All, &handler), Cause::Forked);
                    assert!(!worker.unregister(first));
                    assert!(!worker.unregister_same(Scope::All, &handler));
                    assert_error!(worker.post_local(("s", "e"), ()), Cause::Forked);
                    // The values of the last one may be half changed: they are not touched.
                    // SAFETY: this process ends before any code uses the values that are moved out of here.
                    drop(unsafe { std::ptr::read(&raw const worker) });
                });
            }
            stop.store(true, Relaxed);
        });
        assert!(worker.unregister(first));
    }

    fn g12_a_poller_in_a_child_says_forked_and_the_parents_goes_on() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet().interval(HOUR));
        let poller = worker.start_poller().unwrap();
        let dropped = worker.start_poller().unwrap();
        eventually("both have started", || sleepers("seqcast-poller") == 2);
        let child = Child::fork(|| {
            assert_eq!(threads(), 1);
            drop(dropped);
            assert_error!(poller.stop(), Cause::Forked);
            let (own, heard) = listener(&bus, &quiet().interval(HOUR));
            let poller = own.start_poller().unwrap();
            own.post(("s", "child"), b"").unwrap();
            eventually("the child's poller delivers", || heard.len() == 1);
            poller.stop().unwrap();
        });
        assert!(child.ended_well());
        eventually("the parent's poller delivers", || log.len() == 1);
    }

    fn g12_a_childs_crash_takes_its_own_seat_only() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source("s"));
        let child = Child::fork(|| {
            let own = bus.join_with(&quiet()).unwrap();
            own.post(("s", "child"), b"").unwrap();
            stop_here();
        });
        child.await_stop();
        assert_eq!(bus.stats().unwrap().workers.len(), 2);
        child.kill();
        let stats = bus.stats().unwrap();
        assert_eq!(stats.workers.iter().map(|worker| worker.alive).collect::<Vec<_>>(), [true, false]);
        let successor = bus.join_with(&quiet()).unwrap();
        assert_eq!(counts(&bus, &successor).adopted, 1, "the dead worker's seat was not taken over");
        successor.post(("s", "successor"), b"").unwrap();
        poll(&worker);
        assert_eq!(log.events(), ["child", "successor"]);
    }

    fn g12_a_child_that_never_joined_keeps_no_seat_of_its_dead_parent() {
        let (_name, bus) = bus(&small().seats(2));
        let worker = bus.join_with(&quiet()).unwrap();
        let gate = shared_words(1);
        let parent = Child::fork(|| {
            let _own = bus.join_with(&quiet()).unwrap();
            let orphan = Child::fork(|| {
                // Otherwise it would die with its parent.
                // SAFETY: plain numbers; the signal is for this process.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
                gate[0].store(1, Relaxed);
                eventually("it may end", || gate[0].load(Relaxed) == 2);
            });
            eventually("the orphan runs", || gate[0].load(Relaxed) == 1);
            std::mem::forget(orphan);
            stop_here();
        });
        parent.await_stop();
        parent.kill();
        let successor = bus.join_with(&quiet()).unwrap();
        assert_eq!((successor.seat(), counts(&bus, &successor).adopted), (1, 1));
        worker.post(("s", "e"), b"").unwrap();
        gate[0].store(2, Relaxed);
    }

    fn g12_seats_left_in_order_are_free_though_children_live() {
        let (_name, bus) = bus(&small().seats(2));
        let (worker, poster) = (bus.join_with(&quiet()).unwrap(), bus.publisher().unwrap());
        let child = Child::fork(stop_here);
        child.await_stop();
        assert_error!(bus.join_with(&quiet()), Cause::NoSeat { .. });
        drop((worker, poster));
        let successors = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
        // Values that the child drops are not lost to its parent.
        child.go_on();
        assert!(child.ended_well());
        assert_error!(bus.join_with(&quiet()), Cause::NoSeat { .. }, "a child gave a successor's seat away");
        drop(successors);
    }

    fn g12_an_anonymous_bus_is_shared_by_fork() {
        let bus = small().anonymous().unwrap();
        let (worker, log) = listener(&bus, &quiet());
        // Of other processes there are names with other numbers, which may contain this one.
        let own = std::process::id().to_string();
        let before = fs::read_dir("/dev/shm").unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().split(|c: char| !c.is_ascii_digit()).any(|number| number == own)
        }).count();
        assert_eq!(before, 0, "it has a name");
        in_child(|| {
            assert_error!(worker.post(("s", "e"), b""), Cause::Forked);
            bus.join_with(&quiet()).unwrap().post(("s", "child"), b"").unwrap();
        });
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.events(), ["child"]);
        assert_error!(bus.unlink(), Cause::NotFound { .. });
    }

    fn g12_the_unlinked_name_does_not_hinder_children() {
        let (name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        bus.unlink().unwrap();
        assert!(!name.path().exists());
        in_child(|| {
            bus.join_with(&quiet()).unwrap().post(("s", "child"), b"").unwrap();
            assert_error!(small().open(&name), Cause::NotFound { .. });
        });
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.events(), ["child"]);
    }

    fn g12_a_prefork_server_of_many_children_keeps_one_order() {
        const CHILDREN: usize = 4;
        const EACH: usize = 200;
        let (_name, bus) = bus(&small().capacity(4096));
        let digests = shared_words(CHILDREN);
        let ready = shared_words(1);
        let children: Vec<Child> = (0..CHILDREN).map(|child| {
            let (bus, digests, ready) = (&bus, digests, ready);
            Child::fork(move || {
                let (worker, log) = listener(bus, &quiet());
                ready[0].fetch_add(1, Relaxed);
                eventually("all have joined", || ready[0].load(Relaxed) == CHILDREN as u64);
                for i in 0..EACH {
                    worker.post(("s", "e"), format!("{child} {i}")).unwrap();
                    let _ = worker.poll().unwrap();
                }
                while log.len() < CHILDREN * EACH {
                    worker.wait(Duration::from_millis(100)).unwrap();
                    assert_eq!(poll(&worker).1, 0);
                }
                // FNV-1a over ids and contents in order of delivery.
                let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
                for seen in log.seen() {
                    for byte in seen.id.unwrap().to_le_bytes().into_iter().chain(seen.bytes) {
                        digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                    }
                }
                digests[child].store(digest, Relaxed);
            })
        }).collect();
        for child in children {
            assert!(child.ended_well());
        }
        let digests: Vec<u64> = digests.iter().map(|digest| digest.load(Relaxed)).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0] && *digest != 0), "{digests:?}");
    }

    fn a_worker_that_ends_in_order_announces_it_and_its_parent_hears_it() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source(library::SOURCE));
        in_child(|| drop(bus.join_with(&WorkerOptions::new().label("child")).unwrap()));
        poll(&worker);
        assert_eq!(log.events(), [library::STARTED.event(), library::STOPPING.event()]);
        assert_eq!(log.texts(), ["child", "child"]);
    }
}
