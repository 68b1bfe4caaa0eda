//! The faults, and which of them a unique event that ran twice is due to.

use std::thread;
use std::time::Duration;

use crate::common::host::Host;
use crate::common::oracle::{Loss, Verdict, cause};
use crate::common::proxy::Mode;
use crate::common::run::Posted;
use crate::engine::{Engine, STANDBY, Way};

/// Faults, by name. Those that make the server forget what it has acknowledged are marked.
pub const FAULTS: [(&str, bool); 24] = [
    ("relay killed", false),
    ("relay stopped", false),
    ("relay doubled", false),
    ("relay replaced by a standby", false),
    ("all relays killed", false),
    ("link cut", false),
    ("link refused", false),
    ("link held", false),
    ("link deaf", false),
    ("server killed", false),
    ("server stopped", false),
    ("server full", false),
    ("clients disconnected", false),
    ("scripts flushed", false),
    ("stream trimmed", false),
    ("server flushed", true),
    ("stream deleted", true),
    ("meta deleted", false),
    ("origins deleted", false),
    ("claims deleted", true),
    ("failover", true),
    ("failover by the sentinel", true),
    ("split brain", true),
    ("split brain by the sentinel", true),
];

/// Does it, and returns when everything is as before, but for what the hosts and the server have still to do.
pub fn happen(name: &str, hosts: &mut [Host], engine: &mut Engine, random: &mut fastrand::Rng) {
    let chosen = random.usize(..hosts.len());
    let mut time = |millis: std::ops::Range<u64>| Duration::from_millis(random.u64(millis));
    let host = &mut hosts[chosen];
    match name {
        "relay killed" => {
            for _ in 0..3 {
                host.kill_relay();
                host.start_relay();
                thread::sleep(time(5..100));
            }
        }
        "relay stopped" => {
            host.signal_relay(libc::SIGSTOP);
            thread::sleep(time(100..1500));
            host.signal_relay(libc::SIGCONT);
        }
        "relay doubled" => {
            host.signal_relay(libc::SIGSTOP);
            let code = host.command().status().expect("it starts").code();
            assert_eq!(code, Some(3), "a second relay was not refused");
            host.signal_relay(libc::SIGCONT);
        }
        "relay replaced by a standby" => {
            let standby = host.command().arg(STANDBY).spawn().expect("it starts");
            thread::sleep(time(1..200));
            host.replace_relay(standby);
        }
        "all relays killed" => {
            hosts.iter_mut().for_each(Host::kill_relay);
            thread::sleep(time(1..200));
            hosts.iter_mut().for_each(Host::start_relay);
        }
        "link cut" => engine.link(host, chosen).cut(),
        "link refused" => {
            let link = engine.link(host, chosen);
            link.refuse(true);
            thread::sleep(time(50..800));
            link.refuse(false);
        }
        "link held" => {
            let link = engine.link(host, chosen);
            link.set(Mode::Hole);
            // Answers are awaited for 2.5 s.
            thread::sleep(time(50..3500));
            link.set(Mode::Pass);
        }
        "link deaf" => {
            let link = engine.link(host, chosen);
            link.set(Mode::Deaf);
            thread::sleep(time(20..400));
            link.cut();
            link.set(Mode::Pass);
        }
        "server killed" => {
            let master = &mut engine.servers[engine.master];
            master.kill();
            thread::sleep(time(1..300));
            master.run();
            engine.wait_for_copy();
        }
        "server stopped" => {
            engine.master().signal(libc::SIGSTOP);
            thread::sleep(time(100..3500));
            engine.master().signal(libc::SIGCONT);
        }
        "server full" => engine.fill(time(50..1000)),
        "clients disconnected" => engine.master().run_command("CLIENT KILL TYPE normal SKIPME yes"),
        "scripts flushed" => engine.master().run_command("SCRIPT FLUSH"),
        "stream trimmed" => engine.master().run_command("XTRIM {test}:s MAXLEN 5"),
        "server flushed" => engine.master().run_command("FLUSHALL"),
        "stream deleted" => engine.master().run_command("DEL {test}:s"),
        "meta deleted" => engine.master().run_command("DEL {test}:m"),
        "origins deleted" => engine.master().run_command("DEL {test}:o"),
        "claims deleted" => {
            // As a policy that evicts what has a ttl.
            let keys: Vec<String> = engine.master().ask("KEYS {test}:c:*");
            for some in keys.chunks(100) {
                engine.master().run_command(&format!("DEL {}", some.join(" ")));
            }
        }
        "failover" => {
            engine.wait_for_copy();
            // The replica falls behind, and then is the master.
            engine.links[engine.master].set(Mode::Hole);
            thread::sleep(time(50..1200));
            engine.servers[engine.master].kill();
            engine.promote(hosts.iter().enumerate());
            engine.rejoin(true);
            engine.wait_for_copy();
        }
        "failover by the sentinel" => {
            engine.wait_for_copy();
            engine.fail_over(time(0..1200), true);
            thread::sleep(time(0..500));
            hosts.iter().enumerate().for_each(|(number, host)| engine.lead(host, number));
            engine.rejoin(true);
            engine.wait_for_copy();
        }
        "split brain" => {
            engine.wait_for_copy();
            // Some hosts go to the new master, and the others stay with the old one, until that is discarded.
            let stays = one_that_can_stay(hosts.len(), random);
            let go = hosts.iter().enumerate().filter(|(number, _)| *number != stays);
            engine.promote(go);
            end_split(hosts, engine, random);
        }
        "split brain by the sentinel" => {
            engine.wait_for_copy();
            // The hosts that do not ask it stay with the old master, which is alone then.
            engine.fail_over(Duration::ZERO, false);
            end_split(hosts, engine, random);
        }
        _ => unreachable!("{name} is no fault"),
    }
}

/// A host that does not follow the sentinel.
fn one_that_can_stay(hosts: usize, random: &mut fastrand::Rng) -> usize {
    let can: Vec<usize> = (0..hosts).filter(|host| Way::of(*host) != Way::Sentinel).collect();
    can[random.usize(..can.len())]
}

fn end_split(hosts: &[Host], engine: &mut Engine, random: &mut fastrand::Rng) {
    thread::sleep(Duration::from_millis(random.u64(200..1700)));
    engine.rejoin(false);
    hosts.iter().enumerate().for_each(|(number, host)| engine.lead(host, number));
    engine.wait_for_copy();
}

/// How many unique events ran twice because of each loss, in order, and how many without a reason.
pub fn reasons(verdict: &Verdict, posted: &Posted, losses: &[Loss]) -> (Vec<usize>, usize) {
    let (mut of_loss, mut without) = (vec![0; losses.len()], 0);
    for twice in &verdict.twice {
        match cause(twice, posted.unique[&twice.number], losses) {
            Some(loss) => of_loss[loss] += 1,
            None => without += 1,
        }
    }
    (of_loss, without)
}
