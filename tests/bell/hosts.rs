//! Hosts and sandboxes: limits, namespaces, filters of system calls, no `/proc`.

use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::{BellKind, BellOptions, ErrorKind, Trouble};
use seqcast_testkit::{Child, HANGS, Log, alone, bus, eventually, in_child, is_readable, quiet, shared_words, small};

use crate::{NOW, counting, rung_only, settle};

const TICK: Duration = Duration::from_millis(3);

/// Asserts that bells of this process tick, that this is reported with a reason that contains `word`, and that they
/// work.
fn assert_ticks(bus: &seqcast::Bus, word: &str) {
    let reports: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&reports);
    let report = move |report: &seqcast::Report<'_>| {
        if let Trouble::Unheard(error) = report.trouble {
            assert_eq!((error.kind(), report.trouble.name()), (ErrorKind::Unheard, "unheard"));
            noted.lock().unwrap().push(report.to_string());
        }
    };
    let worker = bus.join_with(&quiet().on_report(report)).unwrap();
    let log = Log::of(&worker, seqcast::Scope::All);
    let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
    let options = BellOptions::new().tick(TICK);
    let (bell, pulled) = (worker.bell_with(&options).unwrap(), subscriber.bell_with(&options).unwrap());
    assert_eq!([bell.kind(), pulled.kind()], [BellKind::Tick(TICK); 2]);
    for unheard in [bell.unheard(), pulled.unheard()] {
        assert!(unheard.unwrap().to_string().contains(word), "{unheard:?}");
    }
    assert_eq!(reports.lock().unwrap().len(), 1);
    assert!(reports.lock().unwrap()[0].contains(word));
    bell.poll().unwrap();
    assert!(!pulled.arm(&subscriber).unwrap());
    worker.publisher().unwrap().post(("s", "e"), "").unwrap();
    while log.ids().is_empty() {
        assert!(is_readable(&bell, HANGS));
        bell.poll().unwrap();
    }
    assert!(is_readable(&pulled, HANGS));
    assert!(pulled.arm(&subscriber).unwrap());
    assert!(subscriber.try_next().unwrap().is_some());
}

/// Makes system call `number` fail with `errno` in this process from now on.
fn forbid(number: libc::c_long, errno: libc::c_int) {
    let filter = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which outlives the call.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(done, "seccomp: {}", io::Error::last_os_error());
}

/// Puts this process into a new user namespace, as its root, and into other new namespaces.
fn unshare(others: libc::c_int) -> bool {
    // SAFETY: both only return a number.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: changes what this process sees, and takes no memory.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | others) } != 0 {
        eprintln!("skipped: no such namespaces here: {}", io::Error::last_os_error());
        return false;
    }
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
    true
}

alone! {
    fn g19_a_user_without_inotify_instances_gets_bells_that_tick_and_is_told_the_sysctl() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            if !unshare(0) {
                return;
            }
            // The limit of this namespace. The limit of the user gives the same error.
            fs::write("/proc/sys/user/max_inotify_instances", "0").unwrap();
            assert_ticks(&bus, "sysctl fs.inotify.max_user_instances = ");
        });
    }

    fn g19_a_user_without_inotify_watches_gets_bells_that_tick_and_is_told_the_sysctl() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            if !unshare(0) {
                return;
            }
            fs::write("/proc/sys/user/max_inotify_watches", "0").unwrap();
            assert_ticks(&bus, "sysctl fs.inotify.max_user_watches = ");
        });
    }

    fn g19_where_inotify_is_forbidden_bells_tick() {
        let (_name, bus) = bus(&small());
        for (call, errno) in [
            (libc::SYS_inotify_init1, libc::EPERM),
            (libc::SYS_inotify_init1, libc::ENOSYS),
            (libc::SYS_inotify_add_watch, libc::EACCES),
        ] {
            in_child(|| {
                forbid(call, errno);
                assert_ticks(&bus, "seccomp");
                // A thread needs no inotify.
                let (worker, _) = counting(&bus);
                let bell = worker.bell_with(&rung_only().thread(true)).unwrap();
                settle(&bell);
                worker.publisher().unwrap().post(("s", "e"), "").unwrap();
                assert!(is_readable(&bell, HANGS));
            });
        }
    }

    /// Simulates a file system or a sandbox that accepts the watch and reports nothing.
    fn g19_a_watch_that_hears_nothing_is_found_out_when_the_bell_is_made() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            // A ring is a `pread`.
            forbid(libc::SYS_pread64, libc::EIO);
            assert_ticks(&bus, "inotify did not report a read");
        });
    }

    fn g19_bells_are_rung_across_namespaces() {
        let (name, bus) = bus(&small());
        let (worker, delivered) = counting(&bus);
        let bell = worker.bell_with(&rung_only()).unwrap();
        let words = shared_words(2);
        let child = Child::fork(|| {
            let all = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC;
            if !unshare(all | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP) {
                words[0].store(2, Ordering::Release);
                return;
            }
            // The first process of the new pid namespace.
            in_child(|| {
                let opened = small().open(&name).unwrap();
                let (other, heard) = counting(&opened);
                let others_bell = other.bell_with(&rung_only()).unwrap();
                assert_eq!(others_bell.kind(), BellKind::Inotify);
                settle(&others_bell);
                words[0].store(1, Ordering::Release);
                while heard.get() == 0 {
                    assert!(is_readable(&others_bell, HANGS));
                    others_bell.poll().unwrap();
                }
                eventually("the other listens", || words[1].load(Ordering::Acquire) == 1);
                other.post(("s", "e"), "").unwrap();
                std::thread::sleep(HANGS);
            });
        });
        eventually("the other has begun", || words[0].load(Ordering::Acquire) != 0);
        if words[0].load(Ordering::Acquire) == 2 {
            assert!(child.ended_well());
            return;
        }
        worker.post(("s", "e"), "").unwrap();
        settle(&bell);
        words[1].store(1, Ordering::Release);
        while delivered.get() < 2 {
            assert!(is_readable(&bell, HANGS));
            bell.poll().unwrap();
        }
    }

    fn g19_a_bell_is_rung_where_there_is_no_proc() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            if !unshare(libc::CLONE_NEWNS) {
                return;
            }
            // SAFETY: the strings are C strings; only this process sees the mount.
            let mounted = unsafe {
                let (none, null) = (c"none".as_ptr(), std::ptr::null());
                libc::mount(none, c"/".as_ptr(), null, libc::MS_REC | libc::MS_PRIVATE, null.cast()) == 0
                    && libc::mount(none, c"/proc".as_ptr(), c"tmpfs".as_ptr(), 0, null.cast()) == 0
            };
            assert!(mounted, "{}", io::Error::last_os_error());
            let (worker, _) = counting(&bus);
            let bell = worker.bell_with(&rung_only()).unwrap();
            assert_eq!(bell.kind(), BellKind::Inotify, "{:?}", bell.unheard());
            settle(&bell);
            worker.post(("s", "e"), "").unwrap();
            assert!(is_readable(&bell, NOW));
            // The name leads to another file, so no process can open this one by it.
            bus.unlink().unwrap();
            let _other = small().unlink_on_drop(true).create(bus.name()).unwrap();
            let deaf = worker.bell_with(&BellOptions::new().tick(TICK)).unwrap();
            assert_eq!(deaf.kind(), BellKind::Tick(TICK));
        });
    }
}
