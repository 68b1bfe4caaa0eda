//! A library does not own a process's descriptors: hosts start programs with 0 to 2 closed, close all from 3 on, close
//! a number twice, and put other files on numbers that belonged to seqcast.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;

use seqcast::{Bus, Cause, Claimed, Event, Scope, Worker, WorkerOptions};
use seqcast_testkit::{
    Child, HOUR, Log, Name, alone, assert_error, bus, counts, error, eventually, in_child, poll, quiet, role,
    shared_words, small, stop_here,
};

/// Closes descriptors as a daemon does that believes them to be unused.
fn close_from(first: i32) {
    for number in first..1024 {
        // SAFETY: a number that is not open is only an error; this process opens no others meanwhile.
        unsafe { libc::close(number) };
    }
}

fn close(number: i32) {
    // SAFETY: as above.
    unsafe { libc::close(number) };
}

fn is_open(number: i32) -> bool {
    // SAFETY: a system call without pointers.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Returns the number of the file that a segment's name leads to.
fn inode(name: &Name) -> u64 {
    fs::metadata(name.path()).unwrap().ino()
}

/// Returns this process's descriptor numbers for which `are_so`.
fn numbers(are_so: impl Fn(&fs::DirEntry) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten().filter(are_so);
    entries.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Returns the numbers that lead to a segment's file.
fn numbers_of(inode: u64) -> Vec<i32> {
    numbers(|entry| fs::metadata(entry.path()).is_ok_and(|file| file.ino() == inode))
}

/// Ends this process's locks on all its seats of the segment, by descriptors and by mappings. No host does this.
fn lose_locks(inode: u64) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    for line in maps.lines().filter(|line| line.contains(" ---s ") && line.contains(&format!(" {inode} "))) {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| usize::from_str_radix(address, 16).unwrap());
        // SAFETY: no code reads or writes pages that are mapped without the right to either.
        assert_eq!(unsafe { libc::munmap(from as *mut libc::c_void, to - from) }, 0);
    }
    close_from(3);
}

/// Overwrites a word of the identity of `seat`, in the file.
fn set_identity(name: &Name, seat: u32, field: &str, value: u64) {
    let file = File::options().write(true).open(name.path()).unwrap();
    let field = seqcast::inspect::fields().into_iter().find(|found| found.name == field).unwrap();
    file.write_all_at(&value.to_ne_bytes(), 2048 + u64::from(seat) * 640 + field.offset as u64).unwrap();
}

/// Posts, polls, claims and reserves.
fn use_it(worker: &Worker, log: &Log) {
    log.drain();
    poll(worker);
    let seen = log.drain().len();
    let id = worker.post(("s", "used"), b"bytes").unwrap();
    let reserved = worker.reserve().unwrap().commit(("s", "reserved"), b"").unwrap();
    worker.event(("s", "unique")).unique(&id.to_le_bytes()).ttl(HOUR).post(b"").unwrap();
    assert_eq!(poll(worker), (3, 0), "after {seen} others");
    assert_eq!(log.ids(), [id, reserved, reserved + 1]);
    let Claimed::Won(claim) = worker.claim(id.to_le_bytes(), HOUR).unwrap() else { panic!("not won") };
    assert!(worker.release(&claim).unwrap());
}

alone! {
    fn g3_a_segment_never_lives_on_a_standard_descriptor() {
        for closed in 1..8_u32 {
            let name = Name::new();
            let told = shared_words(1);
            let child = Child::fork(|| {
                for number in (0..3).filter(|number| closed & 1 << number != 0) {
                    close(number);
                }
                let bus = small().create(&name).unwrap();
                let opened = small().open(&name).unwrap();
                let worker = bus.join_with(&quiet()).unwrap();
                let poster = opened.publisher().unwrap();
                let log = Log::of(&worker, Scope::source("s"));
                // The default report of a failed handler goes to standard error.
                worker.on(Scope::source("s"), |_: &Event<'_>| Err::<(), _>("failed")).unwrap();
                let anonymous = small().anonymous().unwrap();
                let _anonymous_seat = anonymous.join().unwrap();
                for number in (0..3).filter(|number| closed & 1 << number != 0) {
                    assert!(!is_open(number), "{number} is in use");
                    // SAFETY: one byte of a constant.
                    assert_eq!(unsafe { libc::write(number, b"x".as_ptr().cast(), 1) }, -1);
                }
                use_it(&worker, &log);
                drop((bus, opened, poster, worker));
                let is_leftover = |number: &i32| closed & 1 << number != 0 && is_open(*number);
                let leftover: Vec<i32> = (0..3).filter(is_leftover).collect();
                assert!(leftover.is_empty(), "{leftover:?}");
                told[0].store(1, Relaxed);
            });
            assert!(child.ended_well(), "with {closed:#05b} closed");
            assert_eq!(told[0].load(Relaxed), 1);
            let bus = small().open(&name).unwrap();
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g9_a_worker_keeps_its_seat_though_its_process_closes_every_descriptor() {
        for named in [true, false] {
            let name = Name::new();
            let options = small().seats(3);
            let bus = if named { options.create(&name) } else { options.anonymous() }.unwrap();
            let worker = bus.join_with(&quiet()).unwrap();
            let log = Log::of(&worker, Scope::source("s"));
            let child = Child::fork(|| {
                let own = bus.join_with(&quiet()).unwrap();
                let heard = Log::of(&own, Scope::source("s"));
                let mut poster = bus.publisher().unwrap();
                let claimed = own.claim("held", HOUR).unwrap();
                assert!(matches!(claimed, Claimed::Won(_)));
                close_from(3);
                stop_here();
                poster.post(("s", "of the poster"), b"").unwrap();
                use_it(&own, &heard);
                stop_here();
            });
            child.await_stop();
            assert_error!(bus.join_with(&quiet()), Cause::NoSeat { .. }, "a seat was given away");
            let stats = bus.stats().unwrap();
            assert!(stats.workers.len() == 3 && stats.workers.iter().all(|worker| worker.alive), "{stats:?}");
            child.go_on();
            child.await_stop();
            assert_error!(bus.join_with(&quiet()), Cause::NoSeat { .. }, "a seat was given away");
            assert!(matches!(worker.claim("held", HOUR).unwrap(), Claimed::Held { seat: 1, .. }));
            poll(&worker);
            assert_eq!(log.events(), ["of the poster", "used", "reserved"], "and the unique one was the other's");
            child.kill();
            let seats = [bus.publisher().unwrap(), bus.publisher().unwrap()];
            drop(seats);
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g12_descriptors_closed_between_opening_and_joining() {
        let (name, bus) = bus(&small().seats(2));
        in_child(|| {
            close_from(3);
            let worker = bus.join_with(&quiet()).unwrap();
            let log = Log::of(&worker, Scope::source("s"));
            use_it(&worker, &log);
            close_from(3);
            let poster = worker.publisher().unwrap();
            assert_error!(bus.join(), Cause::NoSeat { .. });
            close_from(3);
            assert_eq!(bus.stats().unwrap().workers.len(), 2);
            close_from(3);
            assert!(bus.audit().unwrap().is_clean());
            use_it(&worker, &log);
            drop((worker, poster));
            close_from(3);
            drop(small().open(&name).unwrap().join().unwrap());
        });
        assert!(bus.audit().unwrap().is_clean());
        assert!(bus.stats().unwrap().workers.is_empty());
    }

    fn g12_descriptors_closed_in_the_middle_of_a_poll() {
        let (_name, bus) = bus(&small().seats(2));
        let _worker = bus.join_with(&quiet()).unwrap();
        in_child(|| {
            let own = bus.join_with(&quiet()).unwrap();
            let log = Log::of(&own, Scope::source("s"));
            own.on(Scope::events("s", ["close"]), |_: &Event<'_>| close_from(3)).unwrap();
            own.post(("s", "close"), b"").unwrap();
            own.event(("s", "unique")).unique("key").ttl(HOUR).post(b"").unwrap();
            own.post(("s", "last"), b"").unwrap();
            assert_eq!(poll(&own), (3, 0));
            assert_eq!(log.events(), ["close", "unique", "last"]);
            use_it(&own, &log);
            assert_error!(bus.join(), Cause::NoSeat { .. });
        });
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g6_a_reserver_that_died_is_known_though_the_descriptor_is_closed() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            let own = bus.join_with(&quiet().wait_max(HOUR)).unwrap();
            let log = Log::of(&own, Scope::source("s"));
            let reserver = Child::fork(|| {
                let other = bus.join_with(&quiet()).unwrap();
                let _reserved = other.reserve().unwrap();
                stop_here();
            });
            reserver.await_stop();
            reserver.kill();
            own.post(("s", "behind it"), b"").unwrap();
            close_from(3);
            // It would wait for an hour if it could not detect the death.
            assert_eq!(poll(&own), (1, 0));
            assert_eq!(log.events(), ["behind it"]);
        });
    }

    fn g12_a_segment_that_cannot_be_found_again_says_so() {
        let (name, bus) = bus(&small());
        let anonymous = small().anonymous().unwrap();
        in_child(|| {
            let workers = [bus.join_with(&quiet()).unwrap(), anonymous.join_with(&quiet()).unwrap()];
            name_gone(&name, &bus);
            close_from(3);
            for (bus, remedy) in [(&bus, "no longer leads to it"), (&anonymous, "has no name")] {
                let refused = error(bus.join());
                assert_eq!(refused.code(), "descriptor", "{refused}");
                let text = refused.to_string();
                assert!(text.contains(remedy) && text.contains("clos") && text.contains("before"), "{text}");
            }
            // Workers that have joined no longer need it.
            for worker in workers {
                let log = Log::of(&worker, Scope::source("s"));
                use_it(&worker, &log);
                worker.leave().unwrap();
            }
        });
        assert_eq!(bus.stats().unwrap().workers.len() + anonymous.stats().unwrap().workers.len(), 0);
    }

    fn g12_another_file_on_numbers_that_were_ours_is_left_alone() {
        let (name, bus) = bus(&small());
        in_child(|| {
            let path = std::env::temp_dir().join(format!("seqcast-other-{}", std::process::id()));
            fs::write(&path, [7; 8192]).unwrap();
            let other = File::options().read(true).write(true).open(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let worker = bus.join_with(&quiet()).unwrap();
            let opened = small().open(&name).unwrap();
            let anonymous = small().anonymous().unwrap();
            let of_memory = |entry: &fs::DirEntry| {
                fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().contains("memfd:"))
            };
            let put = [numbers_of(inode(&name)), numbers(of_memory)].concat();
            assert!(put.len() >= 3, "{put:?}");
            for number in &put {
                // SAFETY: acts like a host that takes the number for its own.
                assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), *number) }, *number);
            }
            let log = Log::of(&worker, Scope::source("s"));
            use_it(&worker, &log);
            let (second, third) = (bus.join_with(&quiet()).unwrap(), opened.publisher().unwrap());
            assert_eq!(bus.stats().unwrap().workers.len(), 3);
            assert_eq!(error(anonymous.join()).code(), "descriptor");
            drop((worker, second, third, log));
            drop((bus, opened, anonymous));
            for number in put {
                let leads_to = fs::read_link(format!("/proc/self/fd/{number}"));
                let leads_to = leads_to.unwrap_or_else(|error| panic!("{number} was closed: {error}"));
                assert!(leads_to.to_string_lossy().contains("seqcast-other-"), "{number}: {leads_to:?}");
            }
            let mut bytes = vec![0; 8193];
            assert_eq!(other.read_at(&mut bytes, 0).unwrap(), 8192);
            assert!(bytes[..8192].iter().all(|&byte| byte == 7), "it was written to");
        });
        let bus = small().open(&name).unwrap();
        assert!(bus.stats().unwrap().workers.is_empty() && bus.audit().unwrap().is_clean());
    }

    fn g12_a_number_that_a_host_closes_twice() {
        let name = Name::new();
        in_child(|| {
            let stale = File::open("/dev/null").unwrap();
            let number = stale.as_raw_fd();
            drop(stale);
            let bus = small().create(&name).unwrap();
            let numbers = numbers_of(inode(&name));
            assert!(numbers.contains(&number), "the test needs {number} to be ours: {numbers:?}");
            close(number);
            let mut next = File::options().write(true).open("/dev/null").unwrap();
            assert_eq!(next.as_raw_fd(), number);
            let worker = bus.join_with(&quiet()).unwrap();
            let log = Log::of(&worker, Scope::source("s"));
            use_it(&worker, &log);
            drop((worker, log));
            drop(bus);
            next.write_all(b"still open").unwrap();
        });
        assert!(small().open(&name).unwrap().audit().unwrap().is_clean());
    }

    fn g7_a_dead_workers_seat_is_free_though_its_children_live() {
        let (_name, bus) = bus(&small().seats(2));
        let pids = shared_words(2);
        let parent = Child::fork(|| {
            let _own = bus.join_with(&quiet()).unwrap();
            let _poster = bus.publisher().unwrap();
            let forked = Child::fork(|| {
                // Otherwise it would die with its parent.
                // SAFETY: plain numbers; the signal is for this process.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
                stop_here();
            });
            let program = Command::new("sleep").arg("3600").spawn().unwrap();
            pids[0].store(u64::from(forked.pid()), Relaxed);
            pids[1].store(u64::from(program.id()), Relaxed);
            std::mem::forget((forked, program));
            stop_here();
        });
        parent.await_stop();
        parent.kill();
        let pids = [0, 1].map(|i| pids[i].load(Relaxed) as libc::pid_t);
        let seats = [bus.join_with(&quiet()), bus.join_with(&quiet())];
        for pid in pids {
            // SAFETY: processes of this test, which only init reaps.
            assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0, "{pid} did not live so long");
        }
        for seat in seats {
            drop(seat.unwrap());
        }
    }

    fn g2_a_seat_whose_lock_is_lost_is_not_given_away_while_its_process_lives() {
        let (name, bus) = bus(&small().seats(2));
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source("s"));
        let child = Child::fork(|| {
            let own = bus.join_with(&quiet().label("unlucky")).unwrap();
            let heard = Log::of(&own, Scope::source("s"));
            lose_locks(inode(&name));
            // Its own process does not give it away either.
            assert_error!(bus.join(), Cause::NoSeat { .. });
            stop_here();
            use_it(&own, &heard);
            stop_here();
            own.leave().unwrap();
            stop_here();
        });
        child.await_stop();
        let refused = error(bus.join_with(&quiet()));
        assert!(matches!(refused.cause(), Cause::NoSeat { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("1 of them") && text.contains("lost its lock"), "{text}");
        let stats = bus.stats().unwrap();
        assert!(stats.workers.iter().all(|worker| worker.alive), "{stats:?}");
        assert!(bus.audit().unwrap().is_clean());
        assert!(seqcast::inspect::adopt_dead(&name, &small()).unwrap().is_empty());
        child.go_on();
        child.await_stop();
        poll(&worker);
        assert_eq!(log.events(), ["used", "reserved"]);
        child.go_on();
        child.await_stop();
        assert_eq!(bus.join_with(&quiet()).unwrap().seat(), 1, "left in order");
        child.go_on();
        assert!(child.ended_well());
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g7_a_seat_whose_lock_is_lost_is_free_when_its_process_is_dead() {
        let (name, bus) = bus(&small().seats(1));
        let child = Child::fork(|| {
            let _own = bus.join_with(&quiet()).unwrap();
            lose_locks(inode(&name));
            stop_here();
        });
        child.await_stop();
        assert_error!(bus.join_with(&quiet()), Cause::NoSeat { .. });
        // Dead, but not reaped.
        child.signal(libc::SIGKILL);
        eventually("its seat is free", || bus.join_with(&quiet()).is_ok());
        child.kill();
    }

    fn g7_a_process_that_executes_itself_gets_its_seat_again() {
        let (name, bus) = bus(&small().seats(1));
        let child = Child::fork(|| {
            let own = bus.join_with(&quiet()).unwrap();
            own.post(("s", "before"), b"").unwrap();
            let mut again = Command::new(std::env::current_exe().unwrap());
            again.args(["joins_again", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
            again.env("SEQCAST_TEST_ROLE", &*name).env_remove("SEQCAST_TEST_ALONE");
            panic!("{}", again.exec());
        });
        child.await_stop();
        assert_error!(bus.join(), Cause::NoSeat { .. }, "it has its seat again");
        child.go_on();
        assert!(child.ended_well());
        assert_eq!(bus.next_id(), 2);
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g3_a_displaced_worker_does_no_harm() {
        let (name, bus) = bus(&small().seats(3));
        let watcher = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&watcher, Scope::source("s"));
        let child = Child::fork(|| {
            let own = bus.join_with(&quiet()).unwrap();
            let heard = Log::of(&own, Scope::source("s"));
            own.post(("s", "before"), b"").unwrap();
            assert_eq!(poll(&own), (1, 0));
            let mut poster = bus.publisher().unwrap();
            let Claimed::Won(claim) = own.claim("key", HOUR).unwrap() else { panic!("not won") };
            let mut reservation = own.reserve().unwrap();
            lose_locks(inode(&name));
            stop_here();
            let results = [
                own.post(("s", "e"), b"").map(drop),
                own.event(("s", "e")).unique("key").post(b"").map(drop),
                own.post_local(("s", "e"), ()),
                own.poll().map(drop),
                own.poll_at_most(1).map(drop),
                own.wait(HOUR).map(drop),
                own.reserve().map(drop),
                own.publisher().map(drop),
                own.claim("key", HOUR).map(drop),
                own.release(&claim).map(drop),
                own.reconfigure(|options| options.label("displaced")),
                reservation.commit(("s", "e"), b"").map(drop),
                poster.post(("s", "e"), b"").map(drop),
                poster.claim("key", HOUR).map(drop),
                poster.release(&claim).map(drop),
                own.clone().leave(),
            ];
            for (i, result) in results.into_iter().enumerate() {
                let code = result.map_err(|error| error.code());
                assert_eq!(code, Err("displaced"), "call {i}");
            }
            drop((reservation, poster, own));
            assert_eq!(heard.events(), ["before"]);
            stop_here();
        });
        child.await_stop();
        // As from another pid namespace, where no process can know that it lives.
        for seat in [1, 2] {
            set_identity(&name, seat, "start_time", 0);
        }
        let successor = bus.join_with(&quiet()).unwrap();
        let mut poster = bus.publisher().unwrap();
        assert_eq!((successor.seat(), poster.seat()), (1, 2));
        let heard = Log::of(&successor, Scope::source("s"));
        let Claimed::Won(_) = successor.claim("other", HOUR).unwrap() else { panic!("not won") };
        let mut reservation = successor.reserve().unwrap();
        let before = counts(&bus, &successor);
        child.go_on();
        child.await_stop();
        let after = counts(&bus, &successor);
        assert_eq!((after.pid, after.label, after.cursor), (before.pid, before.label, before.cursor));
        assert_eq!(after.posted, before.posted);
        assert_error!(bus.join(), Cause::NoSeat { .. }, "the displaced one gave the seats away");
        reservation.commit(("s", "reserved"), b"").unwrap();
        poster.post(("s", "of the poster"), b"").unwrap();
        use_it(&successor, &heard);
        poll(&watcher);
        assert_eq!(log.events(), ["before", "reserved", "of the poster", "used", "reserved"]);
        child.go_on();
        assert!(child.ended_well());
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g10_a_worker_that_is_displaced_by_a_forged_number_leaks_nothing() {
        let (name, bus) = bus(&small().seats(1));
        in_child(|| {
            let held = || fs::read_to_string("/proc/self/maps").unwrap().matches(" ---s ").count();
            for round in 1..=50 {
                let worker = bus.join_with(&quiet()).unwrap();
                assert_eq!(held(), 1);
                set_identity(&name, 0, "incarnation", round << 32);
                assert_eq!(error(worker.poll()).code(), "displaced");
                drop(worker);
                assert_eq!(held(), 0, "its page stays");
                // The words that it must not touch say that it lives, and it knows no better.
                set_identity(&name, 0, "pid", 0);
            }
        });
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g7_a_worker_that_is_displaced_or_forked_while_it_writes_a_payload_leaks_nothing() {
        let (name, bus) = bus(&small().seats(1).block_size(8192));
        in_child(|| {
            let mapped = || fs::read_to_string("/proc/self/maps").unwrap().matches(bus.name()).count();
            let before = mapped();
            for forks in [false, true, false, true] {
                let own_bus = Bus::open(bus.name()).unwrap();
                let worker = own_bus.join_with(&quiet()).unwrap();
                let mut child = 1;
                let posted = worker.post_with(("s", "e"), 6_000, |sink| {
                    if forks {
                        // SAFETY: the child only returns, looks at its mappings and exits.
                        child = unsafe { libc::fork() };
                    } else {
                        set_identity(&name, 0, "incarnation", 1 << 32);
                    }
                    sink.put(&[1; 6_000])
                });
                drop((worker, own_bus));
                let is_gone = mapped() == before;
                if child == 0 {
                    let is_refused = posted.is_err_and(|error| error.code() == "forked");
                    // SAFETY: ends the process.
                    unsafe { libc::_exit(if is_refused && is_gone { 7 } else { 1 }) };
                }
                assert!(is_gone, "the segment stays mapped");
                if forks {
                    posted.unwrap();
                    let mut status = 0;
                    // SAFETY: the status is writable.
                    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                    assert_eq!(status, 7 << 8, "the child was not refused, or the segment stays mapped in it");
                } else {
                    assert_eq!(error(posted).code(), "displaced");
                    // The words that it must not touch say that it lives, and it knows no better.
                    set_identity(&name, 0, "pid", 0);
                }
            }
        });
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g9_a_worker_displaced_while_its_handler_runs_claims_nothing_more() {
        let (name, bus) = bus(&small().seats(2));
        let watcher = bus.join_with(&quiet()).unwrap();
        let child = Child::fork(|| {
            let own = bus.join_with(&quiet()).unwrap();
            let heard = Log::of(&own, Scope::source("s"));
            let inside = inode(&name);
            own.on(Scope::events("s", ["lose"]), move |_: &Event<'_>| {
                lose_locks(inside);
                stop_here();
            })
            .unwrap();
            own.post(("s", "lose"), b"").unwrap();
            own.event(("s", "unique")).unique("key").ttl(HOUR).post(b"").unwrap();
            own.post(("s", "after"), b"").unwrap();
            assert_eq!(error(own.poll()).code(), "displaced");
            assert_eq!(heard.events(), ["lose"]);
        });
        child.await_stop();
        set_identity(&name, 1, "start_time", 0);
        let successor = bus.join_with(&WorkerOptions::new().label("successor").announce(false)).unwrap();
        let before = counts(&bus, &successor);
        child.go_on();
        assert!(child.ended_well());
        let after = counts(&bus, &successor);
        assert_eq!((after.delivered, after.cursor, after.claims_won), (before.delivered, before.cursor, 0));
        let log = Log::of(&watcher, Scope::source("s"));
        poll(&watcher);
        assert_eq!(log.events(), ["lose", "unique", "after"], "the event was already claimed");
        drop((watcher, successor));
        assert!(bus.audit().unwrap().is_clean());
    }
}

/// Removes the name, which another segment may have taken.
fn name_gone(name: &Name, bus: &Bus) {
    bus.unlink().unwrap();
    drop(small().create(name).unwrap());
}

#[test]
#[ignore = "started by g7_a_process_that_executes_itself_gets_its_seat_again"]
fn joins_again() {
    let Some(name) = role() else { return };
    let bus = small().open(&name).unwrap();
    let worker = bus.join_with(&quiet()).unwrap();
    worker.post(("s", "after"), b"").unwrap();
    stop_here();
    drop((worker, bus));
}
