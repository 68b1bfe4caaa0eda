//! TLS, sentinels, and secrets.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::host::eventually;
use common::server::{Sentinel, Server, free_port};
use seqcast_relay::engine::redis::{Address, Redis, Secrets};
use seqcast_relay::engine::{Appended, Engine, EngineError, Outgoing, Registration};

const SECRET: &str = "hunter2-canary";

fn who() -> Registration {
    Registration { origin: 7, session: 1, host: "test".into(), format: 1 }
}

fn at(url: &str, secrets: Secrets) -> Redis {
    Redis::new(Address::parse(url, secrets).unwrap(), "test", 1000)
}

fn append(redis: &Redis, from: u64) -> Result<Appended, EngineError> {
    let (mut up, hello) = redis.up(&who(), from)?;
    let batch =
        Outgoing { from: hello.next, next: hello.next + 1, count: 1, body: b"body", claim: None, retains: None };
    up.send(&batch)?;
    up.receive()
}

/// Appends until there is an answer, or a refusal for another reason than the time that it took.
fn append_patiently(redis: &Redis) -> Result<Appended, EngineError> {
    let mut done = None;
    eventually("there is an answer", || {
        let late = ["in time", "timed out", "temporarily unavailable"];
        let is_late = |error: &EngineError| late.iter().any(|late| error.text().contains(late));
        done = Some(append(redis, 0)).filter(|done| !done.as_ref().is_err_and(is_late));
        done.is_some()
    });
    done.unwrap()
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;

    #[test]
    #[ignore = "needs a server: crates/seqcast-relay/tests/run"]
    fn only_a_server_that_a_known_authority_has_named_is_trusted() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = common::server::Folder::new();
        common::server::certify(folder.path(), "good");
        common::server::certify(folder.path(), "other");
        let read = |file: &str| fs::read(folder.path().join(file)).unwrap();
        let path = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
        let arguments = [
            "--tls-cert-file",
            &path("good.pem"),
            "--tls-key-file",
            &path("good.key"),
            "--tls-ca-cert-file",
            &path("good-ca.pem"),
            "--tls-auth-clients",
            "optional",
        ];
        let (server, port) = Server::start_at_port("--tls-port", &arguments);
        server.run_command(&format!("CONFIG SET requirepass {SECRET}"));
        let password = || Some(SECRET.to_owned());
        let secrets =
            |authority: &str| Secrets { password: password(), authorities: Some(read(authority)), certificate: None };
        let url = format!("rediss://localhost:{port}");
        assert_eq!(append_patiently(&at(&url, secrets("good-ca.pem"))), Ok(Appended::Ok));
        // A certificate of our own is shown if the server asks.
        let own = Secrets { certificate: Some((read("good.pem"), read("good.key"))), ..secrets("good-ca.pem") };
        assert_eq!(append_patiently(&at(&url, own)), Ok(Appended::Ok));
        for (url, secrets) in [
            (url.clone(), secrets("other-ca.pem")),
            // The system's authorities do not know it.
            (url.clone(), Secrets { password: password(), ..Secrets::default() }),
            // The certificate is not that of this name.
            (format!("rediss://127.0.0.1:{port}"), secrets("good-ca.pem")),
        ] {
            let failed = append_patiently(&at(&url, secrets)).unwrap_err();
            assert!(failed.text().contains("ertificate") && !failed.text().contains(SECRET), "{failed:?}");
        }
        drop(server);
    }
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn a_new_master_is_found_by_the_sentinels() {
    let start = || Server::start_at_port("--port", &["--repl-diskless-sync-delay", "0"]);
    let [(mut first, port), (second, second_port)] = [start(), start()];
    second.run_command(&format!("REPLICAOF 127.0.0.1 {port}"));
    eventually("the replica copies", || second.ask::<String>("INFO replication").contains("link_status:up"));
    let folder = common::server::Folder::new();
    let (watch, silent) = (free_port(), free_port());
    let sentinel = Sentinel::start(folder.path(), watch, port);
    let redis = at(&format!("redis+sentinel://127.0.0.1:{silent},127.0.0.1:{watch}/shop"), Secrets::default());
    eventually("the sentinel answers", || append(&redis, 0) == Ok(Appended::Ok));
    eventually("the sentinel knows the replica", || sentinel.ask::<String>("INFO sentinel").contains("slaves=1"));
    let before: u64 = second.ask("XLEN {test}:s");
    first.kill();
    eventually("the new master takes a batch", || append(&redis, 0) == Ok(Appended::Ok));
    assert!(second.ask::<u64>("XLEN {test}:s") > before);
    // A server that is no master any more sends away.
    first.run();
    first.run_command(&format!("REPLICAOF 127.0.0.1 {second_port}"));
    let old = at(&format!("redis://127.0.0.1:{port}"), Secrets::default());
    let mut sent_away = None;
    eventually("it has loaded what the new master has", || {
        sent_away = Some(append_patiently(&old));
        !matches!(sent_away, Some(Err(EngineError::Refused(_) | EngineError::Lost(_))))
    });
    let is_moved = matches!(&sent_away, Some(Err(EngineError::Moved(text))) if text.contains("READONLY"));
    assert!(is_moved, "{sent_away:?}");
    let unknown = append_patiently(&at(&format!("redis+sentinel://127.0.0.1:{watch}/other"), Secrets::default()));
    assert!(matches!(&unknown, Err(EngineError::Denied(text)) if text.contains("other")), "{unknown:?}");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let server = Server::start();
    let redis = server.redis();
    let mut down = redis.down().unwrap();
    server.signal(libc::SIGSTOP);
    assert!(matches!(redis.down().map(drop), Err(EngineError::Lost(_))));
    assert!(matches!(down.tip(false), Err(EngineError::Lost(_))));
    server.signal(libc::SIGCONT);
    let reads = || redis.down().and_then(|mut down| down.read(&Default::default(), Duration::from_millis(1)));
    eventually("it answers again", || reads().is_ok());
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seqcast-relay"));
    let done = command.args(arguments).env_remove("SEQCAST_REDIS_URL").output().unwrap();
    (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

#[test]
fn wrong_usage_is_told_and_a_password_on_the_command_line_is_refused_and_not_repeated() {
    let (code, said) = run(&["shop", "--redis", &format!("redis://user:{SECRET}@localhost")]);
    assert!(code == Some(2) && said.contains("--redis-file"), "{said}");
    // The parser of the command line repeats the value that it was given, which is on the command line already.
    let (code, said) = run(&["shop"]);
    assert!(code == Some(2) && said.contains("--redis-file"), "{said}");
    let (code, said) = run(&["no-such-segment", "--redis", "redis://localhost"]);
    assert!(code == Some(3) && said.contains("no-such-segment"), "{said}");
    let (code, said) = run(&["status", "no-such-segment"]);
    assert!(code == Some(3), "{said}");
    let file = common::server::Folder::new();
    let url = file.path().join("url");
    fs::write(&url, format!("http://user:{SECRET}@localhost")).unwrap();
    let (code, said) = run(&["shop", "--redis-file", url.to_str().unwrap()]);
    assert!(code == Some(2) && !said.contains(SECRET), "{said}");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn a_password_from_a_file_is_used_and_never_shown_and_a_wrong_one_ends_the_relay() {
    let mut server = Server::start_with(&["--port", "0"]);
    server.run_command(&format!("CONFIG SET requirepass {SECRET}"));
    server.login = format!("?pass={SECRET}");
    let name = format!("relay-links-{}", std::process::id());
    let bus = seqcast::SegmentOptions::new().capacity(64).unlink_on_drop(true).create(&name).unwrap();
    let (url, wrong) = (server.folder.path().join("url"), server.folder.path().join("wrong"));
    fs::write(&url, format!("redis+unix://{}\n", server.socket().display())).unwrap();
    fs::write(&wrong, "wrong-canary\n").unwrap();
    let (url, wrong) = (url.to_str().unwrap(), wrong.to_str().unwrap());
    let mut program = Command::new(env!("CARGO_BIN_EXE_seqcast-relay"));
    program.args([&name, "--redis-file", url, "--password-file", wrong]).stderr(Stdio::piped());
    let mut code = None;
    eventually("it has ended", || {
        let mut relay = program.spawn().unwrap();
        let start = Instant::now();
        // One that gets no answer in time at its start tries again, and goes on.
        while relay.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(10));
        }
        relay.kill().unwrap();
        let done = relay.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!said.contains("canary"), "{said}");
        println!("{said}");
        code = done.status.code();
        code.is_some()
    });
    assert_eq!(code, Some(5));
    let password = server.folder.path().join("password");
    fs::write(&password, SECRET).unwrap();
    let mut relay = Command::new(env!("CARGO_BIN_EXE_seqcast-relay"));
    relay.args([&name, "--redis-file", url, "--password-file"]).arg(&password);
    let relay = relay.stderr(Stdio::piped()).spawn().unwrap();
    let inspector = seqcast::inspect::Inspector::open(&name).unwrap();
    eventually("it is up", || inspector.relay().unwrap().health == seqcast::relay::Health::Up);
    let origin = bus.origin().to_string();
    eventually("its state is shown", || {
        let arguments = ["status", &name, "--redis-file", url, "--password-file", password.to_str().unwrap()];
        let (code, status) = run(&arguments);
        println!("{status}");
        code == Some(0) && ["here", &origin, "HOST"].iter().all(|part| status.contains(part))
    });
    // SAFETY: a signal to a child that was not waited for.
    assert_eq!(unsafe { libc::kill(relay.id() as i32, libc::SIGTERM) }, 0);
    let done = relay.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(0) && said.contains("stopping") && !said.contains("canary"), "{said}");
    let (code, status) = run(&["status", &name]);
    assert!(code == Some(1) && status.contains("left"), "{status}");
}
