//! A `redis-server` or `valkey-server` of the test's own.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, Value};
use seqcast_relay::engine::redis::{Address, Redis, Secrets};

use super::host::{eventually, patience};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed with everything in it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("seqcast-relay-{}-{number}", std::process::id()));
        // An earlier process with this id may have been killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    pub folder: Folder,
    arguments: Vec<String>,
    /// Other users get rights by a URL of their own.
    pub login: String,
}

/// The program: `SEQCAST_REDIS_SERVER`, or Debian's.
pub fn program() -> String {
    std::env::var("SEQCAST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

/// A TCP port of this host at which nothing listens. It is below those that the system gives to clients.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap();
    let given = given.get_or_insert_default();
    loop {
        let port = fastrand::u16(20_000..32_000);
        if given.insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends a signal to a child that was not waited for. Returns after SIGSTOP once it has stopped.
pub fn signal(child: &Child, number: i32) {
    let pid = child.id() as i32;
    // SAFETY: a signal to a child that was not waited for.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
    if number == libc::SIGSTOP {
        let mut status = 0;
        // SAFETY: the child is this process's, and the status is valid for the call.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) }, pid);
        assert!(libc::WIFSTOPPED(status), "it has ended: {status}");
    }
}

impl Server {
    /// Keeps nothing on disk.
    pub fn start() -> Server {
        Server::start_with(&[])
    }

    /// With more arguments, which may hold `DIR` for the server's folder.
    pub fn start_with(arguments: &[&str]) -> Server {
        let mut server = Server::new(arguments);
        server.run();
        server
    }

    /// Listens at a free port of this host, which it gets by `option`.
    pub fn start_at_port(option: &str, arguments: &[&str]) -> (Server, u16) {
        let arguments = [arguments, &["--bind", "127.0.0.1", option]].concat();
        loop {
            let port = free_port();
            let mut server = Server::new(&[&arguments[..], &[&port.to_string()]].concat());
            // Another program may have taken the port meanwhile.
            if server.try_run() {
                return (server, port);
            }
            assert!(server.log().contains("in use"), "the server has ended: {}", server.log());
        }
    }

    fn new(arguments: &[&str]) -> Server {
        let folder = Folder::new();
        let dir = folder.path().to_str().unwrap().to_owned();
        let arguments = arguments.iter().map(|argument| argument.replace("DIR", &dir)).collect();
        Server { child: None, folder, arguments, login: String::new() }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Starts the program again, on the same socket and folder.
    pub fn run(&mut self) {
        assert!(self.try_run(), "the server has ended: {}", self.log());
    }

    /// Returns `false` if it has ended.
    fn try_run(&mut self) -> bool {
        assert!(self.child.is_none(), "it runs");
        let mut command = Command::new(program());
        command.args(["--port", "0", "--save", "", "--dir"]).arg(self.folder.path());
        command.arg("--unixsocket").arg(self.socket()).arg("--logfile").arg(self.folder.path().join("log"));
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(command.spawn().unwrap_or_else(|error| {
            panic!("{} does not start ({error}): run crates/seqcast-relay/tests/run", program())
        }));
        let start = Instant::now();
        // It answers with an error while it reads its file.
        while !self.is_ready() {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            assert!(start.elapsed() < patience(), "the server does not answer: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        let url = format!("redis+unix://{}", self.socket().display());
        let connection = redis::Client::open(url).unwrap().get_connection();
        connection.is_ok_and(|mut connection| redis::cmd("PING").query::<Value>(&mut connection).is_ok())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns after SIGSTOP once it has stopped.
    pub fn signal(&self, number: i32) {
        signal(self.child.as_ref().unwrap(), number);
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}{}", self.socket().display(), self.login)
    }

    /// The stream `test` of this server.
    pub fn redis(&self) -> Redis {
        self.stream("test")
    }

    pub fn stream(&self, name: &str) -> Redis {
        Redis::new(Address::parse(&self.url(), Secrets::default()).unwrap(), name, 100_000)
    }

    pub fn connection(&self) -> Connection {
        let url = format!("redis+unix://{}", self.socket().display());
        redis::Client::open(url).unwrap().get_connection().unwrap()
    }

    /// Runs a command, whose words are separated by spaces.
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    pub fn try_ask<T: FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        words(command).query(&mut self.connection())
    }

    pub fn run_command(&self, command: &str) {
        let _: Value = self.ask(command);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes an authority, `NAME-ca.pem`, and a certificate of `localhost` that it has signed, `NAME.pem` and `NAME.key`,
/// in `folder`.
pub fn certify(folder: &Path, name: &str) {
    let script = format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name}-ca -keyout {name}-ca.key \
            -out {name}-ca.pem \
         && openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {name}.key -out {name}.csr \
         && printf 'subjectAltName=DNS:localhost' > {name}.ext \
         && openssl x509 -req -days 2 -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial \
            -extfile {name}.ext -out {name}.pem"
    );
    let made = Command::new("sh").args(["-c", &script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A sentinel that watches the master `shop`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Sentinel {
    child: Child,
    port: u16,
}

impl Sentinel {
    /// Its file is in `folder`. It takes a master that says nothing for half a second for dead.
    pub fn start(folder: &Path, port: u16, master: u16) -> Sentinel {
        let file = folder.join("sentinel.conf");
        let rules = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor shop 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 2000\n",
            folder.display()
        );
        fs::write(&file, rules).unwrap();
        let mut command = Command::new(program());
        command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        let sentinel = Sentinel { child: command.spawn().unwrap(), port };
        eventually("the sentinel answers", || sentinel.try_ask::<Value>("PING").is_ok());
        sentinel
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/shop", self.port)
    }

    /// Runs a command, whose words are separated by spaces.
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    pub fn run_command(&self, command: &str) {
        let _: Value = self.ask(command);
    }

    pub fn try_ask<T: FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        words(command).query(&mut client.get_connection_with_timeout(Duration::from_secs(5))?)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn words(command: &str) -> redis::Cmd {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command
}
