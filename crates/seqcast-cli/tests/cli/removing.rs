//! rm, and the proof that no process uses the removed segment.

use seqcast::inspect::unlink_unheld;
use seqcast::{Cause, SegmentOptions};
use seqcast_testkit::{HOUR, assert_error};
use serde_json::json;

use crate::support::{Name, WorkerProcess, eventually, seqcast, seqcast_until, small};

fn exists(name: &Name) -> bool {
    std::fs::exists(name.path()).unwrap()
}

#[test]
fn rm_refuses_while_a_worker_lives() {
    let (name, bus) = Name::segment("rm");
    drop(bus);
    let worker = WorkerProcess::join(&name, "web");
    let refused = seqcast(&["rm", &name]).expect(1);
    assert!(
        refused.stdout.contains("1 worker lives") && refused.stdout.contains(&worker.pid().to_string()),
        "{refused:?}"
    );
    worker.signal(libc::SIGSTOP);
    seqcast(&["rm", &name]).expect(1);
    assert!(exists(&name));
    let forced = seqcast(&["rm", &name, "--force"]).expect(0);
    assert!(forced.stdout.contains("new, empty segment"), "it does not explain the effect: {forced:?}");
    assert!(!exists(&name));
}

#[test]
fn rm_removes_what_dead_workers_left() {
    let (name, bus) = Name::segment("rm-dead");
    drop(bus);
    WorkerProcess::join(&name, "web").kill();
    let removed = seqcast_until(0, &["rm", &name, "--format", "json"]).json();
    assert_eq!((&removed["removed"], &removed["live_workers"]), (&json!(true), &json!([])));
    assert!(!exists(&name));
}

#[test]
fn rm_refuses_while_a_bus_without_a_seat_has_it_open() {
    let (name, bus) = Name::segment("rm-bus");
    let refused = seqcast(&["rm", &name]).expect(1);
    assert!(refused.stdout.contains("has it open"), "{refused:?}");
    // An inspector is no obstacle.
    let _inspector = seqcast::inspect::Inspector::open_any(&name).unwrap();
    drop(bus);
    seqcast_until(0, &["rm", &name]);
    assert!(!exists(&name));
}

#[test]
fn rm_removes_nothing_foreign_and_anything_of_ours() {
    let foreign = Name::new("rm-foreign");
    std::fs::write(foreign.path(), [0xa5; 4096]).unwrap();
    for arguments in [vec!["rm", &foreign], vec!["rm", &foreign, "--force"]] {
        let refused = seqcast(&arguments).expect(3);
        assert!(refused.stderr.contains("not a seqcast segment"), "{refused:?}");
    }
    assert!(exists(&foreign));
    // The segment has another layout, so its workers are not known.
    let (other, bus) = Name::segment("rm-layout");
    let mut bytes = std::fs::read(other.path()).unwrap();
    bytes[0] ^= 0x40;
    std::fs::write(other.path(), &bytes).unwrap();
    seqcast(&["rm", &other]).expect(1);
    assert!(exists(&other), "removed although a process has it open");
    drop(bus);
    seqcast_until(0, &["rm", &other]);
    assert!(!exists(&other));
}

#[test]
fn only_what_nobody_can_write_to_is_unheld() {
    let (name, bus) = Name::segment("unheld");
    assert!(!unlink_unheld(&name).unwrap(), "removed although a process without a seat uses it");
    drop(bus);
    // Another test's child may be between fork and exec, with a copy of the descriptor.
    eventually("no process has it open", || unlink_unheld(&name).unwrap());
    assert_error!(unlink_unheld(&name), Cause::NotFound { .. });
}

#[test]
fn who_opens_while_it_is_removed_is_not_refused() {
    use std::os::fd::AsRawFd;
    let name = Name::new("leased");
    drop(small().create(&name).unwrap());
    let file = std::fs::File::open(name.path()).unwrap();
    // SAFETY: commands with a number, on a descriptor that is open.
    let lease = || unsafe {
        libc::fcntl(file.as_raw_fd(), 10 /* F_SETSIG */, libc::SIGURG) == 0
            && libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) == 0
    };
    // As in the test above.
    eventually("the lease is granted", lease);
    let impatient = SegmentOptions::new().creation_timeout(std::time::Duration::from_millis(5));
    assert_error!(impatient.open(&name), Cause::Busy { .. }, "the lease does not stop an opener");
    std::thread::scope(|scope| {
        let opener = scope.spawn(|| small().creation_timeout(HOUR).open_or_create(&name).map(|bus| bus.was_created()));
        std::fs::remove_file(name.path()).unwrap();
        drop(file);
        assert!(opener.join().unwrap().unwrap(), "the opener continued with the removed segment");
    });
}
