//! doctor: each finding with its remedy, and `--fix` only where it is proven safe.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use seqcast::WorkerOptions;
use seqcast::inspect::Inspector;
use serde_json::{Value, json};

use crate::support::{Name, Run, WorkerProcess, eventually, run, seqcast, seqcast_on_all, seqcast_until, small};

fn findings(run: &Run) -> Vec<(String, Value)> {
    let findings = run.json()["findings"].clone();
    findings.as_array().unwrap().iter().map(|row| (row["code"].as_str().unwrap().to_owned(), row.clone())).collect()
}

fn doctor(name: &str, more: &[&str]) -> Run {
    seqcast(&[&["doctor", name, "--format", "json"], more].concat())
}

/// The only finding of level trouble. Notes depend on the user that runs the test.
#[track_caller]
fn the_trouble(run: &Run) -> Value {
    let mut found = findings(run);
    found.retain(|(_, row)| row["level"] == "trouble" && row["subject"] != "/dev/shm" && row["subject"] != "host");
    assert_eq!(found.len(), 1, "{run:?}");
    let (_, row) = found.pop().unwrap();
    assert!(!row["remedy"].as_str().unwrap().is_empty(), "no remedy: {row}");
    row
}

#[test]
fn a_sound_segment_has_no_finding() {
    let (name, _bus) = Name::segment("sound");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("posts 200");
    worker.told("unique key 60000");
    worker.told("poll");
    let run = doctor(&name, &[]).expect(0);
    assert!(findings(&run).iter().all(|(_, row)| row["level"] == "note"), "{run:?}");
    // `hidden_processes` appears only if some processes could not be examined.
    assert!(findings(&run).iter().all(|(_, row)| !row["what"].as_str().unwrap().starts_with("0 ")), "{run:?}");
}

#[test]
fn g7_seats_of_the_dead_are_found_and_freed() {
    let (name, bus) = Name::segment("dead");
    let mut alive = WorkerProcess::join(&name, "alive");
    let (mut first, second) = (WorkerProcess::join(&name, "first"), WorkerProcess::join(&name, "second"));
    let reserved: u64 = first.told("reserve").parse().unwrap();
    let pid = first.pid();
    first.kill();
    second.kill();
    let found = the_trouble(&doctor(&name, &[]).expect(1));
    assert_eq!(found["code"], "dead_seats");
    assert!(found["what"].as_str().unwrap().contains(&format!("1 (pid {pid} \"first\")")), "{found}");
    assert_eq!((&found["fixable"], &found["fixed"]), (&json!(true), &Value::Null));
    assert_eq!(bus.stats().unwrap().workers.len(), 3, "doctor has changed something");
    let fixed = the_trouble(&doctor(&name, &["--fix"]).expect(0));
    assert_eq!((&fixed["fixed"], &fixed["fix"]), (&json!(true), &json!("freed 2 seats")));
    let stats = bus.stats().unwrap();
    assert_eq!(stats.workers.iter().map(|worker| worker.pid).collect::<Vec<_>>(), [alive.pid()]);
    doctor(&name, &[]).expect(0);
    // The next reader gives up the id that the dead worker had reserved.
    // The two ids after it are the news of the deaths.
    assert_eq!(alive.told("post after the reserved"), (reserved + 3).to_string());
    assert_eq!(alive.told("poll"), "Done { delivered: 6, missed: 0, missed_elsewhere: 0 }");
    let faults = seqcast(&["inspect", &name, "--format", "json", "--sample", "1ms"]).expect(0).json()["faults"].clone();
    assert_eq!((&faults["reclaimed"], &faults["voided"]), (&json!(2), &json!(1)));
    // The freed seats can be taken again, and no block is lost.
    let again: Vec<_> = (0..7).map(|_| WorkerProcess::join(&name, "again")).collect();
    drop(again);
}

#[test]
fn g8_a_stopped_worker_is_found() {
    let (name, _bus) = Name::segment("stopped");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("posts 5");
    worker.signal(libc::SIGSTOP);
    // The signal is on its way.
    let found = the_trouble(&seqcast_until(1, &["doctor", &name, "--format", "json"]));
    assert_eq!(found["code"], "stopped");
    assert!(found["what"].as_str().unwrap().contains(&format!("pid {} \"web\"), 6 behind", worker.pid())), "{found}");
    assert!(found["remedy"].as_str().unwrap().ends_with("after 58 more events it begins to miss events"), "{found}");
}

#[test]
fn g7_a_reader_that_keeps_others_from_joining_is_named() {
    let (name, bus) = Name::segment("read-locks");
    let _worker = WorkerProcess::join(&name, "web");
    // Read only, and without knowing the meaning of the bytes: all from the second seat to the end.
    let file = std::fs::File::open(name.path()).unwrap();
    // SAFETY: `flock` is plain numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_start) = (libc::F_RDLCK as libc::c_short, (1 << 61) + 1);
    // SAFETY: the descriptor is open, and the call reads one `flock`.
    let locked = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_OFD_SETLK, &raw const lock) };
    assert_eq!(locked, 0);
    assert!(bus.join().is_err(), "a worker can join although doctor reports read locks");
    let found = the_trouble(&doctor(&name, &[]).expect(1));
    assert_eq!(found["code"], "read_locks");
    let what = format!("process {} holds read locks on 7 seats of 8", std::process::id());
    assert!(found["what"].as_str().unwrap().starts_with(&what), "{found}");
    drop(file);
    drop(bus.join().unwrap());
    doctor(&name, &[]).expect(0);
}

#[test]
fn a_segment_that_nobody_holds_is_removed_and_no_other() {
    let (name, bus) = Name::segment("stale");
    // Held without a seat: this process has the segment open.
    let run = doctor(&name, &["--fix"]).expect(0);
    assert!(findings(&run).iter().all(|(code, _)| code != "stale"), "{run:?}");
    assert!(std::fs::exists(name.path()).unwrap());
    drop(bus);
    let found = the_trouble(&seqcast_until(1, &["doctor", &name, "--format", "json"]));
    assert_eq!((&found["code"], &found["fixed"]), (&json!("stale"), &Value::Null));
    let fixed = the_trouble(&seqcast_until(0, &["doctor", &name, "--format", "json", "--fix"]));
    assert_eq!((&fixed["code"], &fixed["fixed"]), (&json!("stale"), &json!(true)));
    assert!(!std::fs::exists(name.path()).unwrap());
}

/// A segment with a creator that has begun and is gone.
fn unfinished(what: &str) -> Name {
    let name = Name::new(what);
    std::fs::write(name.path(), 0x7365_7143_4153_7e7e_u64.to_ne_bytes()).unwrap();
    std::fs::set_permissions(name.path(), PermissionsExt::from_mode(0o600)).unwrap();
    name
}

#[test]
fn unfinished_segments_and_those_of_another_boot_are_told_and_removed() {
    let unfinished = unfinished("unfinished");
    let (boot, bus) = Name::segment("boot");
    drop(bus);
    let at = seqcast::inspect::fields().iter().find(|field| field.name == "boot_id").unwrap().offset;
    let mut bytes = std::fs::read(boot.path()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(boot.path(), &bytes).unwrap();
    for (name, code) in [(&unfinished, "unfinished"), (&boot, "other_boot")] {
        assert_eq!(the_trouble(&doctor(name, &[]).expect(3))["code"], code);
        let fixed = seqcast_until(0, &["doctor", name, "--format", "json", "--fix"]);
        assert_eq!(the_trouble(&fixed)["fixed"], true);
        assert!(!std::fs::exists(name.path()).unwrap());
    }
}

#[test]
fn what_fix_did_or_could_not_do_is_told_to_people() {
    let unfinished = unfinished("unfinished-text");
    let told = |run: &Run, line: &str| assert!(run.stdout.lines().any(|told| told.contains(line)), "{line}: {run:?}");
    let open = std::fs::OpenOptions::new().write(true).open(unfinished.path()).unwrap();
    let run = seqcast(&["doctor", &unfinished, "--fix"]).expect(3);
    told(&run, "trouble unfinished");
    told(&run, "        --fix: not removed: a process has it open");
    told(&run, "        remedy: seqcast rm");
    drop(open);
    let run = seqcast_until(0, &["doctor", &unfinished, "--fix"]);
    told(&run, "fixed   unfinished");
    told(&run, "        --fix: removed");
    assert!(!run.stdout.contains("remedy"), "{run:?}");
}

#[test]
fn a_mode_that_lets_everybody_in_is_found() {
    let (name, _bus) = Name::segment("mode");
    let _worker = WorkerProcess::join(&name, "web");
    std::fs::set_permissions(name.path(), PermissionsExt::from_mode(0o666)).unwrap();
    let found = the_trouble(&doctor(&name, &["--fix"]).expect(1));
    assert_eq!((&found["code"], &found["fixed"]), (&json!("mode"), &json!(false)), "--fix must not choose a mode");
    assert!(found["remedy"].as_str().unwrap().contains(&format!("chmod o-rwx {}", name.path())), "{found}");
}

#[test]
fn malformed_events_are_found() {
    let (name, bus) = Name::segment("malformed");
    let worker = bus.join().unwrap();
    let id = worker.post(("a", "b"), "c").unwrap();
    let facts = seqcast(&["inspect", &name, "--layout", "--format", "json"]).expect(0).json();
    let blocks = facts["regions"].as_array().unwrap().iter().find(|region| region["name"] == "blocks").unwrap().clone();
    let (offset, stride) = (blocks["offset"].as_u64().unwrap() as usize, blocks["stride"].as_u64().unwrap() as usize);
    // Replaces the kinds in the block with kinds that do not exist.
    let mut bytes = std::fs::read(name.path()).unwrap();
    for block in bytes[offset..].chunks_exact_mut(stride).take(blocks["count"].as_u64().unwrap() as usize) {
        block[28..32].fill(0xff);
    }
    write_through(&name, &bytes[offset..offset + stride * 72], offset);
    let found = the_trouble(&doctor(&name, &[]).expect(1));
    assert_eq!(found["code"], "corrupt");
    assert!(found["what"].as_str().unwrap().contains(&format!("{} events", id + 1)), "{found}");
}

/// Overwrites a part of the file without truncating it in between.
fn write_through(name: &Name, bytes: &[u8], at: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.write_all_at(bytes, at as u64).unwrap();
}

#[test]
fn g12_a_seat_kept_by_a_dead_workers_child_is_found() {
    let (name, bus) = Name::segment("kept");
    // The worker forks a child that lives on, and is killed. The child keeps nothing.
    let mut worker = WorkerProcess::join(&name, "parent");
    let child: i32 = worker.told("fork").parse().unwrap();
    let pid = worker.pid();
    worker.kill();
    let run = doctor(&name, &[]);
    // SAFETY: a system call without pointers; the child was forked for this test, and only init reaps it.
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
    assert_eq!(the_trouble(&run.expect(1))["code"], "dead_seats");
    // This process locks the seat, like a child that has the lock by a descriptor.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
    // SAFETY: plain numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as libc::c_short, 1 << 61, 1);
    // SAFETY: the descriptor is open, and the request outlives the call.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }, 0);
    let found = the_trouble(&doctor(&name, &[]).expect(1));
    assert_eq!(found["code"], "kept_seat");
    let what = found["what"].as_str().unwrap();
    let keeper = std::process::id();
    assert!(what.contains(&format!("(pid {pid})")) && what.contains(&format!("(pid {keeper})")), "{found}");
    drop((file, bus));
}

#[test]
fn g2_a_living_worker_without_its_lock_is_not_called_dead_and_its_seat_not_freed() {
    let (name, bus) = Name::segment("unlocked");
    let mut worker = WorkerProcess::join(&name, "unlucky");
    let pid = worker.pid();
    assert_eq!(worker.told("lose_lock"), "1");
    for more in [&[][..], &["--fix"]] {
        let found = the_trouble(&doctor(&name, more).expect(1));
        assert_eq!((&found["code"], &found["fixable"]), (&json!("unlocked"), &json!(false)));
        assert!(found["what"].as_str().unwrap().contains(&format!("(pid {pid} \"unlucky\") lives")), "{found}");
    }
    let top = seqcast(&["top", &name, "--once", "--format", "json"]).expect(0).json();
    assert_eq!(top["workers"][0]["state"], "unlocked", "{top}");
    let metrics = seqcast(&["metrics", &name]).expect(0).stdout;
    assert!(
        metrics.contains(&format!("seqcast_workers{{segment=\"{}\",state=\"unlocked\"}} 1", bus.name())),
        "{metrics}"
    );
    assert!(metrics.contains("state=\"dead\"} 0"), "{metrics}");
    // The worker continues, and its seat is its own.
    worker.told("post a b c");
    assert_eq!(worker.told("poll"), "Done { delivered: 2, missed: 0, missed_elsewhere: 0 }");
    assert_eq!(bus.publisher().unwrap().seat(), 1);
    worker.kill();
    assert_eq!(the_trouble(&doctor(&name, &[]).expect(1))["code"], "dead_seats");
    drop(bus);
}

#[test]
fn processes_on_an_older_segment_of_the_name_are_found() {
    let (name, bus) = Name::segment("split");
    let stray = WorkerProcess::join(&name, "old");
    bus.unlink().unwrap();
    drop(bus);
    let bus = small().create(&name).unwrap();
    let _worker = WorkerProcess::join(&name, "new");
    // Another test's child may be between fork and exec, with a copy of the old one's descriptor.
    eventually("only the stray process is found", || {
        let found = the_trouble(&doctor(&name, &[]).expect(1));
        assert_eq!(found["code"], "split");
        found["what"].as_str().unwrap().ends_with(&format!(": pid {}", stray.pid()))
    });
    drop(bus);
}

/// Runs `seqcast` or a shell under `unshare` of util-linux with these options, unless that is not permitted.
fn unshare(options: &[&str]) -> Option<std::process::Command> {
    let probe = run(std::process::Command::new("unshare").args(options).arg("true").stdin(Stdio::null()));
    if probe.code != 0 {
        eprintln!("skipped: no namespaces here: {}", probe.stderr);
        return None;
    }
    let mut command = std::process::Command::new("unshare");
    command.args(options);
    Some(command)
}

#[test]
fn workers_of_other_namespaces_are_noted() {
    let (name, bus) = Name::segment("namespaces");
    let Some(mut unshare) = unshare(&["--pid", "--ipc", "--fork", "--kill-child"]) else { return };
    let mut child = unshare
        .args([env!("CARGO_BIN_EXE_seqcast"), "claim", &name, "key", "--ttl", "10m", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it has joined", || bus.stats().unwrap().claims_held == 1);
    let run = doctor(&name, &[]);
    drop(child.stdin.take());
    child.wait().unwrap();
    let run = run.expect(0);
    let found =
        findings(&run).into_iter().find(|(code, _)| code == "namespaces").unwrap_or_else(|| panic!("{run:?}")).1;
    assert_eq!(found["level"], "note");
    assert!(found["what"].as_str().unwrap().contains("other pid, ipc namespaces"), "{found}");
}

#[test]
fn a_worker_on_another_dev_shm_is_found() {
    let (name, bus) = Name::segment("mount");
    let _worker = WorkerProcess::join(&name, "here");
    let Some(mut unshare) = unshare(&["--mount"]) else { return };
    // A separate /dev/shm with a segment of the same name. The script prints a line when it has it.
    let script = format!(
        "mount -t tmpfs -o size=16m tmpfs /dev/shm && cp /proc/{}/root{} {} && exec {} claim {} key --ttl 10m -- \
         sh -c 'echo ready; cat'",
        std::process::id(),
        name.path(),
        name.path(),
        env!("CARGO_BIN_EXE_seqcast"),
        &*name
    );
    let mut child = unshare.args(["sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let run = doctor(&name, &[]);
    drop(child.stdin.take());
    child.wait().unwrap();
    let found = the_trouble(&run.expect(1));
    assert_eq!(found["code"], "split");
    assert!(found["what"].as_str().unwrap().contains("in another mount namespace"), "{found}");
    drop(bus);
}

#[test]
fn a_nearly_full_dev_shm_is_found() {
    let Some(mut unshare) = unshare(&["--mount"]) else { return };
    let script = format!(
        "mount -t tmpfs -o size=1m tmpfs /dev/shm && head -c 1000k /dev/zero > /dev/shm/filler && exec {} doctor \
         --format json",
        env!("CARGO_BIN_EXE_seqcast")
    );
    let run = run(unshare.args(["sh", "-c", &script]).stdin(Stdio::null())).expect(1);
    let found = findings(&run);
    let [(code, row)] = found.as_slice() else { panic!("{run:?}") };
    assert_eq!(code, "shm_full");
    assert!(row["remedy"].as_str().unwrap().contains("--shm-size"), "{row}");
}

#[test]
fn doctor_without_a_name_looks_at_all() {
    let (name, bus) = Name::segment("all");
    drop(bus);
    eventually("it is found", || {
        let run = seqcast_on_all(&["doctor", "--format", "json"]);
        findings(&run).iter().any(|(_, row)| row["subject"] == *name)
    });
    let text = seqcast_until(1, &["doctor", &name]).stdout;
    assert!(text.contains("trouble stale") && text.contains("remedy: seqcast rm"), "{text}");
}

#[test]
fn g15_a_table_that_refuses_retained_events_is_named() {
    let name = Name::new("doctor-retained-full");
    let bus = small().retained(1).create(&name).unwrap();
    let worker = bus.join().unwrap();
    worker.event(("s", "state")).retain_key("17").post("").unwrap();
    let codes = |code: i32| {
        let json = seqcast(&["doctor", &name, "--format", "json"]).expect(code).json();
        let findings = json["findings"].as_array().unwrap().iter();
        findings.map(|finding| format!("{} {}", finding["level"], finding["code"])).collect::<Vec<_>>()
    };
    assert!(codes(0).contains(&"\"note\" \"retained_full\"".to_owned()));
    assert!(worker.event(("s", "state")).retain_key("18").post("").is_err());
    assert!(codes(1).contains(&"\"trouble\" \"retained_full\"".to_owned()));
}

#[test]
fn a_segment_with_other_options_than_expected_is_found() {
    let (name, _bus) = Name::segment("differs");
    let expected = small();
    let (capacity, seats) = (expected.get_capacity().to_string(), (expected.get_seats() + 1).to_string());
    assert!(
        findings(&doctor(&name, &["--capacity", &capacity]).expect(0)).iter().all(|(_, row)| row["level"] == "note")
    );
    let found = the_trouble(&doctor(&name, &["--capacity", &capacity, "--seats", &seats]).expect(1));
    assert_eq!(found["code"], "options_differ");
    assert_eq!(found["what"], format!("seats is {}, not {seats}", expected.get_seats()));
    // Of which segment?
    seqcast(&["doctor", "--capacity", "8"]).expect(2);
}

#[test]
fn large_blocks_are_checked_counted_and_shown() {
    let name = Name::new("large");
    let bus = small().large(4, 1056).create(&name).unwrap();
    let mut publisher = bus.publisher().unwrap();
    publisher.post(("s", "e"), [b'L'; 800]).unwrap();
    let of_size = |blocks: &str| doctor(&name, &["--large", blocks, "--large-size", "1056"]);
    assert!(findings(&of_size("4").expect(0)).iter().all(|(_, row)| row["level"] == "note"));
    assert_eq!(the_trouble(&of_size("8").expect(1))["what"], "large is 4 of 1056, not 8 of 1056");
    // Both, or none.
    seqcast(&["doctor", &name, "--large", "4"]).expect(2);
    let metrics = seqcast(&["metrics", &name]).expect(0).stdout;
    let counted = |line: &str| line.starts_with("seqcast_worker_large_total{") && line.ends_with(" 1.0");
    assert!(metrics.lines().any(counted), "{metrics}");
    let tail = seqcast(&["tail", &name, "--from", "oldest", "--no-follow", "--format", "json"]).expect(0).stdout;
    let large = |line: &str| serde_json::from_str::<Value>(line).unwrap()["large"] == true;
    assert_eq!(tail.lines().filter(|line| large(line)).count(), 1, "{tail}");
}

#[test]
fn the_relay_of_a_segment_is_looked_at() {
    let (name, bus) = Name::segment("relay");
    let _worker = WorkerProcess::join(&name, "web");
    let codes = |run: &Run| findings(run).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    let has = |run: &Run, code: &str| codes(run).iter().any(|found| found == code);
    assert!(!codes(&doctor(&name, &[]).expect(0)).iter().any(|code| code.starts_with("relay")));
    let (reader, poster) = bus.relay(&seqcast::relay::RelayOptions::new()).unwrap().split();
    poster.set_health(seqcast::relay::Health::Down);
    assert!(has(&doctor(&name, &[]).expect(1), "relay_down"));
    drop((reader, poster));
    assert!(has(&doctor(&name, &[]).expect(0), "relay_left"));
}

#[test]
fn g17_a_reader_that_holds_posts_up_is_named() {
    const HOUR: Duration = Duration::from_secs(3600);
    let name = Name::new("doctor-must-read");
    let bus = small().capacity(64).most_patience(HOUR).create(&name).unwrap();
    let options = WorkerOptions::new().announce(false);
    let mut reader = bus.subscribe_with(&options.clone().label("ledger").must_read(HOUR)).unwrap();
    let mut publisher = bus.publisher_with(&options).unwrap();
    let of =
        |code: &str| findings(&doctor(&name, &[])).into_iter().find(|(found, _)| found == code).map(|(_, row)| row);
    let inspected = || seqcast(&["inspect", &name, "--sample", "1ms", "--format", "json"]).expect(0).json();
    for _ in 0..64 {
        publisher.post(("s", "e"), "").unwrap();
    }
    let found = of("held_up").unwrap();
    assert!(found["what"].as_str().unwrap().contains("(pid "), "{found}");
    assert!(found["what"].as_str().unwrap().contains("\"ledger\"), which must read and has 64 ids unread"), "{found}");
    let shown = &inspected()["must_readers"][0];
    assert_eq!((&shown["holds_up"], &shown["unread"], &shown["fault"]), (&json!(true), &json!(64), &Value::Null));
    let told = seqcast(&["inspect", &name, "--sample", "1ms"]).expect(0).stdout;
    assert!(told.contains("\"ledger\"), 64 unread, posts wait for up to 3600s: posts wait for it now"), "{told}");
    assert!(reader.try_next().unwrap().is_some());
    assert!(of("held_up").is_none());
    // Words that no reader stores: an id that is not taken, and a flag of a seat that nobody has.
    let inspector = Inspector::open(&name).unwrap();
    let regions = inspector.regions();
    let region = |name: &str| regions.iter().find(|region| region.name == name).unwrap();
    let need = seqcast::inspect::fields().into_iter().find(|field| (field.region, field.name) == ("seat", "need"));
    write_through(&name, &u64::MAX.to_le_bytes(), region("seats").offset as usize + need.unwrap().offset);
    let found = of("must_read").unwrap();
    assert!(found["what"].as_str().unwrap().contains("it has copied ids that are not taken"), "{found}");
    drop(reader);
    assert!(of("must_read").is_none() && inspected()["must_readers"] == json!([]));
    write_through(&name, &5_u64.to_le_bytes(), region("must").offset as usize + 8 * 3);
    let found = of("must_read").unwrap();
    assert!(found["what"].as_str().unwrap().contains("its seat has no holder"), "{found}");
    publisher.post(("s", "e"), "").unwrap();
}
