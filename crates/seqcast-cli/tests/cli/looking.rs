//! ls, inspect, tail, claims: they change nothing and show no payload without a request.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use seqcast::inspect::Seen;
use seqcast::{Position, Start};
use serde_json::{Value, json};

use crate::support::{Name, Stop, WorkerProcess, command, eventually, on_all, run, seqcast, seqcast_on_all, small};

#[test]
fn ls_lists_live_and_stale_segments() {
    let (live, _bus) = Name::segment("ls-live");
    let (stale, _) = Name::segment("ls-stale");
    let mut worker = WorkerProcess::join(&live, "web");
    worker.told("post cache stale x");
    let text = seqcast_on_all(&["ls"]).expect(0).stdout;
    let row = |name: &Name| text.lines().find(|line| line.starts_with(&**name)).unwrap_or_else(|| panic!("{text}"));
    assert!(row(&live).split_whitespace().skip(3).collect::<Vec<_>>().ends_with(&["0600", "1/8", "2", "ok"]), "{text}");
    assert!(row(&stale).ends_with("stale"), "{text}");
    let list = seqcast_on_all(&["ls", "--format", "json"]).expect(0).json();
    let of =
        |name: &Name| list["segments"].as_array().unwrap().iter().find(|row| row["name"] == **name).unwrap().clone();
    assert_eq!(of(&live)["state"], "ok");
    assert_eq!(of(&live)["live_workers"], 1);
    assert_eq!(of(&live)["next_id"], 2);
    assert_eq!(of(&live)["mode"], "0600");
    assert_eq!((&of(&stale)["state"], &of(&stale)["live_workers"]), (&json!("stale"), &json!(0)));
}

#[test]
fn ls_names_segments_that_it_cannot_read() {
    let (layout, _) = Name::segment("ls-layout");
    patch(&layout, 0, |magic| magic + 1);
    let (boot, _) = Name::segment("ls-boot");
    patch(&boot, boot_id_at(), |word| word ^ 1);
    let (build, _) = Name::segment("ls-build");
    patch(&build, 8, |word| word ^ 1);
    let foreign = Name::new("ls-foreign");
    std::fs::write(foreign.path(), [0xa5; 4096]).unwrap();
    let list = seqcast_on_all(&["ls", "--format", "json"]).expect(0).json();
    let state = |name: &Name| {
        let rows = list["segments"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == **name).map(|row| row["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(state(&layout).as_deref(), Some("another_layout"));
    assert_eq!(state(&boot).as_deref(), Some("another_boot"));
    assert_eq!(state(&build).as_deref(), Some("another_build"));
    assert_eq!(state(&foreign), None, "a foreign file is listed");
}

/// Changes a word of a segment's file.
fn patch(name: &Name, at: usize, change: impl Fn(u64) -> u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
    let mut word = [0; 8];
    file.read_exact_at(&mut word, at as u64).unwrap();
    file.write_all_at(&change(u64::from_ne_bytes(word)).to_ne_bytes(), at as u64).unwrap();
}

fn boot_id_at() -> usize {
    seqcast::inspect::fields().iter().find(|field| field.region == "header" && field.name == "boot_id").unwrap().offset
}

#[test]
fn inspect_says_who_made_it_and_what_it_holds() {
    let (name, bus) = Name::segment("inspect");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("posts 99");
    worker.told("claim nightly 600000");
    let facts = seqcast(&["inspect", &name, "--format", "json", "--sample", "10ms"]).expect(0).json();
    assert_eq!(facts["name"], *name);
    assert_eq!(facts["creator_pid"], std::process::id());
    assert_eq!(facts["capacity"], 64);
    assert_eq!(facts["next_id"], 100);
    assert_eq!(facts["oldest_id"], 36);
    assert_eq!(facts["live_workers"], 1);
    assert_eq!(facts["claims_held"], 1);
    assert_eq!(facts["events_per_second"], 0.0);
    assert_eq!(facts["holds_seconds"], Value::Null);
    assert_eq!(facts["faults"]["missed"], 0);
    worker.told("poll");
    let facts = seqcast(&["inspect", &name, "--format", "json", "--sample", "10ms"]).expect(0).json();
    // The cursor was at 0 and continues an eighth of the ring above the oldest event.
    assert_eq!(facts["faults"]["missed"], 44);
    let text = seqcast(&["inspect", &name, "--sample", "10ms"]).expect(0).stdout;
    for part in ["created", "fingerprint 0x", "next 100, oldest 36", "1 held", "44 missed", "0 reclaimed"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    drop(bus);
}

#[test]
fn inspect_measures_for_how_long_the_ring_lasts() {
    let (name, bus) = Name::segment("inspect-rate");
    let worker = bus.join().unwrap();
    let stop = Stop::default();
    let mut facts = Value::Null;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.is_said() {
                worker.post(("a", "b"), "").unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let _guard = stop.guard();
        // The poster may have had no time during a measurement.
        eventually("a rate", || {
            facts = seqcast(&["inspect", &name, "--format", "json", "--sample", "300ms"]).expect(0).json();
            facts["events_per_second"] != 0.0
        });
    });
    let (rate, holds) = (facts["events_per_second"].as_f64().unwrap(), facts["holds_seconds"].as_f64().unwrap());
    assert!(rate > 0.0 && (rate * holds - 64.0).abs() < 1e-6, "{facts}");
}

#[test]
fn the_layout_is_drawn_from_the_table_of_the_library() {
    let (name, _bus) = Name::segment("layout");
    let known = seqcast::inspect::Inspector::open(&name).unwrap().regions();
    let drawn = seqcast(&["inspect", &name, "--layout", "--format", "json"]).expect(0).json();
    let fields = drawn["fields"].as_array().unwrap();
    for field in seqcast::inspect::fields() {
        let row = json!({
            "region": field.region, "name": field.name, "offset": field.offset, "len": field.len,
            "writer": field.writer,
        });
        assert!(fields.contains(&row), "{field:?} is missing");
    }
    let regions: Vec<(u64, u64)> = drawn["regions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|region| (region["offset"].as_u64().unwrap(), region["len"].as_u64().unwrap()))
        .collect();
    assert_eq!(regions, known.iter().map(|region| (region.offset, region.bytes())).collect::<Vec<_>>());
    assert!(regions.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "they overlap: {regions:?}");
    let (last, len) = regions[regions.len() - 1];
    assert!((last + len).next_multiple_of(128) == drawn["size_bytes"].as_u64().unwrap(), "{drawn}");
    // Every region with its fields, in order.
    let text = seqcast(&["inspect", &name, "--layout"]).expect(0).stdout;
    let mut shown: Vec<String> = Vec::new();
    for line in text.lines().filter_map(|line| line.split_once(" | ")) {
        let words: Vec<&str> = line.1.split_whitespace().collect();
        shown.push(match *words.as_slice() {
            [offset, len, "B", name, ..] if offset.starts_with('+') => match name {
                "bucket" | "entry" | "index" | "slot" => format!("{offset} {len} {name} {}", words[4]),
                _ => format!("{offset} {len} {name}"),
            },
            _ => words[0].to_owned(),
        });
    }
    let fields = seqcast::inspect::fields();
    let of = |region: &'static str, within: &'static str| {
        let fields: Vec<String> = fields
            .iter()
            .filter(|field| field.region == region)
            .map(|field| format!("+{} {} {within}{}", field.offset, field.len, field.name))
            .collect();
        assert!(!fields.is_empty(), "no field of {region}");
        fields
    };
    let mut expected = Vec::new();
    for region in &known {
        expected.push(region.name.to_owned());
        for &part in region.parts {
            expected.extend(match part {
                "bucket" => of(part, "bucket "),
                "entry" => of(part, "entry "),
                "index" => of(part, "index "),
                "slot" => of(part, "slot "),
                _ => of(part, ""),
            });
        }
    }
    assert_eq!(known.iter().filter(|region| !region.parts.is_empty()).count(), 7);
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn tail_shows_events_without_their_payload() {
    let (name, _bus) = Name::segment("tail");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("post cache stale SECRET");
    worker.told("unique nightly-mail 600000");
    worker.told("poll");
    let tail = |more: &[&str]| {
        let arguments = [&["tail", &*name, "--from", "oldest", "--no-follow"], more].concat();
        seqcast(&arguments).expect(0).stdout
    };
    let text = tail(&[]);
    assert!(text.contains(&format!("cache/stale  pid {}  6 B", worker.pid())), "{text}");
    assert!(text.contains("decided, held by seat 0"), "{text}");
    for text in [text, tail(&["--format", "json"])] {
        assert!(!text.contains("SECRET") && !text.contains("nightly"), "{text}");
    }
    assert!(tail(&["--payload", "utf8"]).contains("SECRET"));
    assert!(tail(&["--payload", "hex"]).contains("534543524554"));
    let only = tail(&["--source", "jobs", "--format", "json"]);
    let events: Vec<Value> = only.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [event] = events.as_slice() else { panic!("{only}") };
    assert_eq!((&event["source"], &event["event"], &event["len_bytes"]), (&json!("jobs"), &json!("run"), &json!(1)));
    assert_eq!(event["unique"]["state"], "held");
    assert_eq!(event["unique"]["holder"]["pid"], worker.pid());
    assert_eq!(event["unique"]["ttl_seconds"], 600.0);
    assert_eq!(event["seen_at"], Value::Null, "the time of the post is not known");
    assert!(tail(&["--event", "stale"]).lines().count() == 1);
}

#[test]
fn tail_shows_what_would_steer_the_terminal_as_text() {
    let (name, bus) = Name::segment("tail-escape");
    let worker = bus.join_with(&seqcast::WorkerOptions::new().announce(false).label("\x1b[31mred")).unwrap();
    worker.post(("\x1b[2J", "e\nvil"), "\x1b]0;title\x07").unwrap();
    let text = seqcast(&["tail", &name, "--from", "oldest", "--no-follow", "--payload", "utf8"]).expect(0).stdout;
    assert!(!text.contains('\x1b') && text.lines().count() == 1, "{text:?}");
    let text = seqcast(&["top", &name, "--once", "--interval", "1ms"]).expect(0).stdout;
    assert!(!text.contains('\x1b') && text.contains("[31mred"), "{text:?}");
}

/// A running `seqcast tail`. Its objects are read one by one.
struct TailProcess {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    /// Its output to standard error.
    notes: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl TailProcess {
    fn start(name: &str, more: &[&str]) -> TailProcess {
        let arguments = [&["tail", name, "--format", "json"], more].concat();
        let mut child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (stderr, notes) = (BufReader::new(child.stderr.take().unwrap()), Arc::default());
        let heard = Arc::<Mutex<String>>::clone(&notes);
        // Ends with the child.
        let listener = std::thread::spawn(move || {
            for line in stderr.lines() {
                heard.lock().unwrap().push_str(&(line.unwrap() + "\n"));
            }
        });
        TailProcess { child, lines, notes, listener: Some(listener) }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().expect("the tail has ended").unwrap()).unwrap()
    }

    fn notes(&self) -> String {
        self.notes.lock().unwrap().clone()
    }

    /// Waits for its end. Returns its whole output to standard error.
    fn ends(mut self) -> String {
        assert!(self.child.wait().unwrap().success());
        self.listener.take().unwrap().join().unwrap();
        self.notes()
    }
}

impl Drop for TailProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tail_follows_and_takes_no_seat() {
    let (name, bus) = Name::segment("tail-follow");
    let mut worker = WorkerProcess::join(&name, "web");
    let mut tail = TailProcess::start(&name, &["--from", "0"]);
    assert_eq!(tail.next()["event"], "started");
    let id: u64 = worker.told("post cache stale user:42").parse().unwrap();
    let event = tail.next();
    assert_eq!((&event["id"], &event["pid"]), (&json!(id), &json!(worker.pid())));
    assert!(event["seen_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(bus.stats().unwrap().workers.len(), 1, "an inspector has taken a seat");
    // In fragments: one block holds 288 bytes.
    worker.told("post_bytes 2000");
    let event = tail.next();
    assert_eq!((&event["len_bytes"], &event["fragmented"]), (&json!(2000), &json!(true)));
}

#[test]
fn tail_goes_on_at_a_position_of_this_bus_and_of_no_other() {
    let (name, bus) = Name::segment("tail-position");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("posts 5");
    let inspected: Value =
        serde_json::from_str(&seqcast(&["inspect", &name, "--format", "json"]).expect(0).stdout).unwrap();
    assert_eq!(inspected["bus_id"], bus.id().to_string());
    let position = Position::after(bus.id(), 2).to_string();
    let mut tail = TailProcess::start(&name, &["--from", &position]);
    assert_eq!(tail.next()["id"], 3);
    let other = format!("{:032x}:3", 7);
    let run = seqcast(&["tail", &name, "--from", &other, "--no-follow"]).expect(3);
    assert!(run.stderr.contains("created again") && run.stderr.contains(&bus.id().to_string()), "{run:?}");
}

#[test]
fn tail_shows_gaps_voids_and_what_it_passed_over() {
    let (name, _bus) = Name::segment("tail-gap");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("posts 200");
    // Before the tail looks, which might not wait for long enough.
    let void: u64 = worker.told("reserve").parse().unwrap();
    worker.told("give_up");
    let mut tail = TailProcess::start(&name, &["--from", "0"]);
    let gap = tail.next();
    // From the first id to an eighth above the oldest of 202 in a ring of 64.
    assert_eq!((&gap["kind"], &gap["id"], &gap["missed"]), (&json!("gap"), &json!(0), &json!(202 - 64 + 8)), "{gap}");
    for id in 146..201 {
        assert_eq!(tail.next()["id"], id);
    }
    let event = tail.next();
    assert_eq!((&event["kind"], &event["id"]), (&json!("void"), &json!(void)));
    let late: u64 = worker.told("reserve").parse().unwrap();
    worker.told("post after the reserved");
    let event = tail.next();
    assert_eq!((&event["kind"], &event["id"], &event["seat"]), (&json!("passed_over"), &json!(late), &json!(0)));
    assert_eq!(tail.next()["event"], "the", "tail continues");
    // The inspector has not given the id up for the workers.
    assert_eq!(worker.told("commit late"), late.to_string());
}

#[test]
fn tail_says_once_that_the_name_leads_elsewhere() {
    let (name, bus) = Name::segment("tail-removed");
    let worker = bus.join_with(&seqcast::WorkerOptions::new().announce(false)).unwrap();
    let post = |event: &str| worker.post(("a", event), "").unwrap();
    // An event is printed when nothing is left to read: between two of them, `tail` has found nothing.
    let mut tail = TailProcess::start(&name, &["--from", "0", "--count", "2"]);
    for event in ["first", "second"] {
        post(event);
        assert_eq!(tail.next()["event"], event);
    }
    assert_eq!(tail.ends(), "", "the name still leads to the segment");
    let mut tail = TailProcess::start(&name, &["--from", "1", "--count", "3"]);
    assert_eq!(tail.next()["event"], "second");
    bus.unlink().unwrap();
    eventually("tail says so", || !tail.notes().is_empty());
    for event in ["third", "fourth"] {
        post(event);
        assert_eq!(tail.next()["event"], event, "an event of the old segment is not shown");
    }
    let notes = tail.ends();
    assert!(notes.contains("removed or created again") && notes.lines().count() == 1, "{notes}");
}

#[test]
fn a_tail_waits_for_a_reserved_id_for_as_long_as_it_is_patient() {
    let (name, bus) = Name::segment("patience");
    let worker = bus.join_with(&seqcast::WorkerOptions::new().announce(false)).unwrap();
    let inspector = small().inspect(&name).unwrap();
    let hour = Duration::from_secs(3600);
    let (mut patient, mut hasty) = (
        inspector.tail(Start::Now).unwrap().patience(hour),
        inspector.tail(Start::Now).unwrap().patience(Duration::ZERO),
    );
    let mut reservation = worker.reserve().unwrap();
    let id = reservation.id();
    worker.post(("after", "it"), "").unwrap();
    assert!(
        matches!(hasty.try_next().unwrap(), Some(Seen::PassedOver { id: passed, seat: Some(0), .. }) if passed == id)
    );
    assert!(matches!(hasty.try_next().unwrap(), Some(Seen::Event(event)) if event.id == id + 1));
    assert!(patient.try_next().unwrap().is_none(), "it does not wait");
    assert_eq!(patient.waiting_for(), Some(id));
    reservation.commit(("late", "one"), "").unwrap();
    for expected in [id, id + 1] {
        assert!(matches!(patient.try_next().unwrap(), Some(Seen::Event(event)) if event.id == expected));
    }
    assert!(patient.try_next().unwrap().is_none());
    assert_eq!(patient.waiting_for(), None);
}

#[test]
fn claims_lists_keys_and_marks_dead_holders() {
    let (name, _bus) = Name::segment("claims");
    let mut alive = WorkerProcess::join(&name, "alive");
    let mut dead = WorkerProcess::join(&name, "doomed");
    assert_eq!(alive.told("claim nightly 600000"), "won");
    assert_eq!(dead.told("claim hourly 900000"), "won");
    assert_eq!(dead.told("claim nightly 600000"), "held");
    alive.told("unique mail 300000");
    alive.told("poll");
    let dead_pid = dead.pid();
    dead.kill();
    let run = seqcast(&["claims", &name, "--format", "json"]).expect(0);
    assert!(!run.stdout.contains("nightly") && !run.stdout.contains("mail"), "a key is shown: {run:?}");
    let claims = run.json()["claims"].clone();
    let [first, second, third] = claims.as_array().unwrap().as_slice() else { panic!("{claims}") };
    assert_eq!(
        (&first["holder"], &first["pid"], &first["label"]),
        (&json!("dead"), &json!(dead_pid), &json!("doomed"))
    );
    assert_eq!(
        (&second["holder"], &second["pid"], &second["kind"]),
        (&json!("alive"), &json!(alive.pid()), &json!("claim"))
    );
    assert_eq!((&third["kind"], &third["seat"]), (&json!("event"), &json!(0)));
    let (since, left) = (second["since_seconds"].as_f64().unwrap(), second["left_seconds"].as_f64().unwrap());
    assert!(since >= 0.0 && (since + left - 600.0).abs() < 1e-3, "{second}");
    let text = seqcast(&["claims", &name]).expect(0).stdout;
    let holder = |column: &str| text.lines().any(|line| line.contains(&format!(" {column}  ")));
    assert!(holder("doomed (dead)") && holder("alive") && !text.contains("(gone)"), "{text}");
    // The new holder of the dead worker's seat did not win its key.
    let _next = WorkerProcess::join(&name, "heir");
    let claims = seqcast(&["claims", &name, "--format", "json"]).expect(0).json()["claims"].clone();
    assert_eq!(
        (&claims[0]["holder"], &claims[0]["pid"], &claims[0]["label"]),
        (&json!("gone"), &Value::Null, &json!(""))
    );
}

#[test]
fn an_error_is_text_for_people_and_an_object_for_programs() {
    let name = Name::new("nothing");
    for arguments in [
        vec!["inspect", &name],
        vec!["top", &name, "--once"],
        vec!["tail", &name],
        vec!["claims", &name],
        vec!["doctor", &name],
        vec!["rm", &name],
        vec!["metrics", &name],
        vec!["post", &name, "a", "b"],
        vec!["claim", &name, "key", "--ttl", "1s", "--", "true"],
    ] {
        let text = seqcast(&arguments).expect(3);
        let why = format!("seqcast: no segment {}", &*name);
        assert!(text.stdout.is_empty() && text.stderr.starts_with(&why), "{text:?}");
        // Before `--`: everything after it belongs to the command.
        let json = seqcast(&[&["--format", "json"], arguments.as_slice()].concat()).expect(3);
        let error: Value = serde_json::from_str(&json.stderr).unwrap();
        assert_eq!((&error["error"]["code"], &error["exit"]), (&json!("not_found"), &json!(3)), "{json:?}");
    }
}

#[test]
fn wrong_usage_is_code_2() {
    let (name, _bus) = Name::segment("usage");
    for arguments in [
        vec!["frobnicate"],
        vec!["inspect"],
        vec!["tail", &name, "--from", "yesterday"],
        vec!["tail", &name, "--from", "999999"],
        vec!["tail", &name, "--from", "7:7"],
        vec!["post", &name, "", "event"],
        vec!["post", &name, "a", "b", "--ttl", "10m"],
        vec!["post", &name, "a", "b", "--data", "@/no/such/file"],
        vec!["claim", &name, "key", "--ttl", "ten minutes", "--", "true"],
        vec!["claim", &name, "key", "--ttl", "1s"],
        vec!["metrics", &name, "--listen", "0.0.0.0:0"],
        vec!["inspect", "../etc/passwd"],
        vec!["top", &name],
        vec!["man", "frobnicate"],
    ] {
        let run = seqcast(&arguments);
        assert!(run.code == 2 && !run.stderr.is_empty(), "{arguments:?}: {run:?}");
    }
}

/// The completions of the last of the words, as the script for bash asks for them.
fn completed(words: &[&str]) -> Vec<String> {
    let asked = on_all(|| {
        let mut asking = command(&[&["--"], words].concat());
        asking.env("SEQCAST_COMPLETE", "bash").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_SPACE", "true");
        asking.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        run(&mut asking)
    });
    asked.expect(0).stdout.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn names_of_segments_are_completed() {
    let (name, _bus) = Name::segment("complete");
    let (half, bare) = (&name[..name.len() - 3], &name[1..name.len() - 3]);
    for command in ["inspect", "top", "tail", "post", "claim", "claims", "release", "doctor", "rm", "metrics"] {
        assert_eq!(completed(&["seqcast", command, half]), [&*name], "{command}");
        assert_eq!(completed(&["seqcast", command, bare]), [&name[1..]], "{command}");
    }
    assert_eq!(completed(&["seqcast", "top", "/no-such-segment-"]), [""; 0]);
}

#[test]
fn claims_of_a_key_says_whether_it_is_held() {
    let (name, _bus) = Name::segment("claims-key");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("claim nightly 600000");
    worker.told("claim hourly 600000");
    worker.told("unique mail 600000");
    worker.told("poll");
    for (key, kind) in [("nightly", "claim"), ("mail", "event")] {
        let json = seqcast(&["claims", &name, key, "--format", "json"]).expect(0).json();
        let [claim] = json["claims"].as_array().unwrap().as_slice() else { panic!("{json}") };
        assert_eq!((&claim["kind"], &claim["pid"]), (&json!(kind), &json!(worker.pid())));
        assert_eq!(seqcast(&["claims", &name, key]).expect(0).stdout.lines().count(), 2);
    }
    let free = seqcast(&["claims", &name, "weekly"]).expect(1);
    assert!(free.stdout.is_empty() && free.stderr.contains("weekly is not held"), "{free:?}");
    let free = seqcast(&["claims", &name, "weekly", "--format", "json"]).expect(1);
    assert_eq!(free.json()["claims"], json!([]));
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let commands = [
        "ls",
        "inspect",
        "top",
        "tail",
        "post",
        "claim",
        "claims",
        "release",
        "doctor",
        "retained",
        "rm",
        "metrics",
        "relay",
        "completions",
        "man",
    ];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = seqcast(&["completions", shell]).expect(0).stdout;
        assert!(script.contains("SEQCAST_COMPLETE") && script.contains("seqcast"), "{shell}: {script}");
    }
    let completed = completed(&["seqcast", ""]);
    for command in commands {
        assert!(completed.contains(&command.to_owned()), "{command} is not completed: {completed:?}");
    }
    for command in commands {
        let page = seqcast(&["man", command]).expect(0).stdout;
        let headings = [".SH EXIT CODES\n", ".SH EXAMPLES\n"];
        assert!(headings.iter().all(|heading| page.matches(heading).count() == 1), "{command}: {page}");
        if command == "relay" {
            // Its help is that of another program.
            continue;
        }
        let help = seqcast(&[command, "--help"]).expect(0).stdout;
        assert!(help.contains("Exit codes:") && help.contains("Examples:"), "{command}: {help}");
    }
    assert!(seqcast(&["man", "top"]).expect(0).stdout.contains(".SH KEYS\n"));
    let page = seqcast(&["man"]).expect(0).stdout;
    assert!(page.starts_with(".ie") || page.contains(".TH seqcast 1"), "{page}");
    assert!(seqcast(&["man", "tail"]).expect(0).stdout.contains("\\-\\-payload"));
    let dir = std::env::temp_dir().join(format!("seqcast-man-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let run = seqcast(&["man", "--dir", dir.to_str().unwrap()]);
    let mut pages: Vec<String> =
        std::fs::read_dir(&dir).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    std::fs::remove_dir_all(&dir).unwrap();
    run.expect(0);
    pages.sort();
    let mut expected: Vec<String> = commands.map(|command| format!("seqcast-{command}.1")).into();
    expected.push("seqcast.1".into());
    expected.sort();
    assert_eq!(pages, expected);
}

#[test]
fn a_reader_that_has_enough_ends_the_command_without_a_word() {
    let (name, bus) = Name::segment("broken-pipe");
    let worker = bus.join().unwrap();
    let mut child =
        command(&["tail", &name, "--from", "oldest"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    eventually("it ends", || {
        worker.post(("a", "b"), "").unwrap();
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn looking_works_without_the_right_to_write() {
    let name = Name::new("read-only");
    let bus = small().mode(0o644).create(&name).unwrap();
    let worker = bus.join().unwrap();
    worker.post(("a", "b"), "").unwrap();
    // As another user, if this is root; an ordinary user tests the same without that.
    let program = env!("CARGO_BIN_EXE_seqcast");
    let copy = std::env::temp_dir().join(format!("seqcast-nobody-{}", std::process::id()));
    // Not by this process: a child of another test would have the file open for writing until its exec, and then it
    // cannot be executed.
    assert!(std::process::Command::new("cp").arg(program).arg(&copy).status().unwrap().success());
    let mut results = Vec::new();
    for arguments in [
        vec!["inspect", &*name, "--sample", "1ms"],
        vec!["tail", &*name, "--from", "oldest", "--no-follow"],
        vec!["claims", &*name],
        vec!["top", &*name, "--once", "--interval", "1ms"],
        vec!["metrics", &*name],
        vec!["post", &*name, "a", "b"],
    ] {
        let mut command = std::process::Command::new(&copy);
        command.args(&arguments).stdin(Stdio::null());
        // SAFETY: `geteuid` takes nothing and cannot fail.
        if unsafe { libc::geteuid() } == 0 {
            use std::os::unix::process::CommandExt;
            command.uid(65_534).gid(65_534);
        }
        results.push((arguments, run(&mut command)));
    }
    std::fs::remove_file(&copy).unwrap();
    // SAFETY: as above.
    let posts = if unsafe { libc::geteuid() } == 0 { 3 } else { 0 };
    for (arguments, run) in results {
        let expected = if arguments[0] == "post" { posts } else { 0 };
        assert_eq!(run.code, expected, "{arguments:?}: {run:?}");
    }
}

#[test]
fn retained_lists_the_last_event_of_each_key_and_shows_a_payload_on_request_only() {
    let (name, bus) = Name::segment("retained");
    let mut publisher = bus.publisher().unwrap();
    let state = ("upstream", "state");
    publisher.event(state).retain_key("17").post("down\u{1b}[2J").unwrap();
    publisher.event(state).retain_key("18").post("old").unwrap();
    let id = publisher.event(state).retain_key("18").ttl(Duration::from_secs(3600)).post("new").unwrap();
    publisher.event(("config", "changed")).retain().post("workers = 4").unwrap();
    publisher.event(state).retain_key("19").post("gone").unwrap();
    publisher.event(state).retain_key("19").clear().unwrap();

    let text = seqcast(&["retained", &name]).expect(0).stdout;
    let keys: Vec<&str> = text.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(keys, ["config/changed", "upstream/state", "upstream/state"], "{text}");
    assert!(!text.contains("down") && !text.contains("workers"), "a payload is shown: {text}");
    let text = seqcast(&["retained", &name, "--payload", "utf8"]).expect(0).stdout;
    assert!(text.contains(r"down\u{1b}[2J") && text.contains("workers = 4") && !text.contains("old"), "{text}");

    let of = |key: &str| seqcast(&["retained", &name, "--key", key, "--payload", "hex", "--format", "json"]);
    let found = of("18").expect(0).json();
    let event = &found["retained"][0];
    assert_eq!((&event["id"], &event["key"], &event["payload_hex"]), (&json!(id), &json!("18"), &json!("6e6577")));
    assert!(event["left_seconds"].as_f64().unwrap() > 3000.0, "{found}");
    assert_eq!((found["retaining"].as_u64(), found["retained"].as_array().unwrap().len()), (Some(0), 1));
    assert_eq!(of("").expect(0).json()["retained"][0]["source"], "config");
    assert_eq!(of("19").expect(1).json()["retained"], json!([]));
    let text = seqcast(&["retained", &name, "--source", "config"]).expect(0).stdout;
    assert_eq!(text.lines().count(), 2, "{text}");

    let lines = seqcast(&["tail", &name, "--from", "oldest", "--no-follow", "--format", "json"]).expect(0).json_lines();
    let cleared: Vec<bool> = lines.iter().map(|line| line["retained"]["clears"].as_bool().unwrap()).collect();
    assert_eq!(cleared, [false, false, false, false, false, true]);
    let facts = seqcast(&["inspect", &name, "--format", "json", "--sample", "1ms"]).expect(0).json();
    assert_eq!((&facts["retained"], &facts["retained_keys"]), (&json!(3), &json!(64)));
}

#[test]
fn retained_says_that_a_segment_retains_nothing() {
    let name = Name::new("retains-nothing");
    let _bus = small().retained(0).create(&name).unwrap();
    let run = seqcast(&["retained", &name]).expect(0);
    assert!(run.stdout.is_empty() && run.stderr.contains("nothing"), "{run:?}");
    seqcast(&["retained", &name, "--key", "17"]).expect(1);
}
