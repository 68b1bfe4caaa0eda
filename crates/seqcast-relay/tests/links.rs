//! TLS, sentinels, and secrets.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::host::eventually;
use common::server::{Sentinel, Server};
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
        let port = fastrand::u16(20_000..50_000).to_string();
        let server = Server::start_with(&[
            "--tls-port",
            &port,
            "--tls-cert-file",
            &path("good.pem"),
            "--tls-key-file",
            &path("good.key"),
            "--tls-ca-cert-file",
            &path("good-ca.pem"),
            "--tls-auth-clients",
            "optional",
            "--bind",
            "127.0.0.1",
        ]);
        server.run_command(&format!("CONFIG SET requirepass {SECRET}"));
        let password = || Some(SECRET.to_owned());
        let secrets =
            |authority: &str| Secrets { password: password(), authorities: Some(read(authority)), certificate: None };
        let url = format!("rediss://localhost:{port}");
        assert_eq!(append(&at(&url, secrets("good-ca.pem")), 0), Ok(Appended::Ok));
        // A certificate of our own is shown if the server asks.
        let own = Secrets { certificate: Some((read("good.pem"), read("good.key"))), ..secrets("good-ca.pem") };
        assert_eq!(append(&at(&url, own), 0), Ok(Appended::Ok));
        for (url, secrets) in [
            (url.clone(), secrets("other-ca.pem")),
            // The system's authorities do not know it.
            (url.clone(), Secrets { password: password(), ..Secrets::default() }),
            // The certificate is not that of this name.
            (format!("rediss://127.0.0.1:{port}"), secrets("good-ca.pem")),
        ] {
            let failed = append(&at(&url, secrets), 0).unwrap_err();
            assert!(failed.text().contains("ertificate") && !failed.text().contains(SECRET), "{failed:?}");
        }
        drop(server);
    }
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn a_new_master_is_found_by_the_sentinels() {
    let port = fastrand::u16(20_000..50_000);
    let ports = [port, port + 1].map(|port| port.to_string());
    let start =
        |port: &str| Server::start_with(&["--port", port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]);
    let [mut first, second] = [start(&ports[0]), start(&ports[1])];
    second.run_command(&format!("REPLICAOF 127.0.0.1 {port}"));
    eventually("the replica copies", || second.ask::<String>("INFO replication").contains("link_status:up"));
    let folder = common::server::Folder::new();
    let sentinel = Sentinel::start(folder.path(), port + 2, port);
    let silent = port + 3;
    let redis = at(&format!("redis+sentinel://127.0.0.1:{silent},127.0.0.1:{}/shop", port + 2), Secrets::default());
    eventually("the sentinel answers", || append(&redis, 0) == Ok(Appended::Ok));
    eventually("the sentinel knows the replica", || sentinel.ask::<String>("INFO sentinel").contains("slaves=1"));
    let before: u64 = second.ask("XLEN {test}:s");
    first.kill();
    eventually("the new master takes a batch", || append(&redis, 0) == Ok(Appended::Ok));
    assert!(second.ask::<u64>("XLEN {test}:s") > before);
    // A server that is no master any more sends away.
    first.run();
    first.run_command(&format!("REPLICAOF 127.0.0.1 {}", port + 1));
    let old = at(&format!("redis://127.0.0.1:{port}"), Secrets::default());
    assert!(matches!(append(&old, 0), Err(EngineError::Moved(text)) if text.contains("READONLY")));
    let unknown = at(&format!("redis+sentinel://127.0.0.1:{}/other", port + 2), Secrets::default());
    assert!(matches!(append(&unknown, 0), Err(EngineError::Denied(text)) if text.contains("other")));
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
    assert!(redis.down().unwrap().read(&Default::default(), Duration::from_millis(1)).is_ok());
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
    let (code, said) = run(&[&name, "--redis-file", url, "--password-file", wrong]);
    assert!(code == Some(5) && !said.contains("canary"), "{said}");
    let password = server.folder.path().join("password");
    fs::write(&password, SECRET).unwrap();
    let mut relay = Command::new(env!("CARGO_BIN_EXE_seqcast-relay"));
    relay.args([&name, "--redis-file", url, "--password-file"]).arg(&password);
    let relay = relay.stderr(Stdio::piped()).spawn().unwrap();
    let inspector = seqcast::inspect::Inspector::open(&name).unwrap();
    eventually("it is up", || inspector.relay().unwrap().health == seqcast::relay::Health::Up);
    let (code, status) = run(&["status", &name, "--redis-file", url, "--password-file", password.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{status}");
    for part in ["here", &bus.origin().to_string(), "HOST"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    // SAFETY: a signal to a child that was not waited for.
    assert_eq!(unsafe { libc::kill(relay.id() as i32, libc::SIGTERM) }, 0);
    let done = relay.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(0) && said.contains("stopping") && !said.contains("canary"), "{said}");
    let (code, status) = run(&["status", &name]);
    assert!(code == Some(1) && status.contains("left"), "{status}");
}
