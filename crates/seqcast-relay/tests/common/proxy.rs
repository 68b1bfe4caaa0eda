//! A link between a relay and its server that can be cut, held, and made deaf.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a link does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// They arrive.
    Pass,
    /// Nothing arrives in either direction, and nobody is told. What was held arrives when it passes again.
    Hole,
    /// Requests arrive, and answers do not.
    Deaf,
}

const NAP: Duration = Duration::from_millis(1);

/// Where a link leads.
#[derive(Clone, Debug)]
enum Target {
    Socket(PathBuf),
    Port(u16),
}

/// One end of a connection.
trait End: Read + Write + Send + Sized + 'static {
    fn connect(target: &Target) -> io::Result<Self>;
    fn copy(&self) -> Self;
    fn prepare(&self);
    fn close(&self);
}

impl End for UnixStream {
    fn connect(target: &Target) -> io::Result<UnixStream> {
        match target {
            Target::Socket(path) => UnixStream::connect(path),
            Target::Port(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn copy(&self) -> UnixStream {
        self.try_clone().unwrap()
    }

    fn prepare(&self) {
        let _ = self.set_nonblocking(false);
        let _ = self.set_read_timeout(Some(LOOK));
    }

    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl End for TcpStream {
    fn connect(target: &Target) -> io::Result<TcpStream> {
        match target {
            Target::Port(port) => TcpStream::connect(("127.0.0.1", *port)),
            Target::Socket(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn copy(&self) -> TcpStream {
        self.try_clone().unwrap()
    }

    fn prepare(&self) {
        let _ = self.set_nonblocking(false);
        let _ = self.set_read_timeout(Some(LOOK));
        let _ = self.set_nodelay(true);
    }

    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// Reads block, so that a link that passes adds little delay, but see changes after this time.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Shared {
    target: Mutex<Target>,
    mode: AtomicU8,
    /// Connections of an earlier generation are closed.
    generation: AtomicU64,
    refuses: AtomicBool,
    ended: AtomicBool,
}

impl Shared {
    fn new(target: Target) -> Arc<Shared> {
        Arc::new(Shared {
            target: Mutex::new(target),
            mode: AtomicU8::new(Mode::Pass as u8),
            generation: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }
}

/// A link with a Unix socket at each end, or a TCP port at each end.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    socket: PathBuf,
    port: u16,
}

impl Proxy {
    /// Listens at `socket`, and connects to `target` for each connection.
    pub fn start(socket: PathBuf, target: &Path) -> Proxy {
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Shared::new(Target::Socket(target.to_owned()));
        let of_thread = Arc::clone(&shared);
        let next = move || listener.accept().map(|(client, _)| client);
        thread::spawn(move || accept(next, &of_thread));
        Proxy { shared, socket, port: 0 }
    }

    /// Listens at a TCP port of this host, and connects to another one.
    pub fn start_tcp(port: u16, target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Shared::new(Target::Port(target));
        let of_thread = Arc::clone(&shared);
        let next = move || listener.accept().map(|(client, _)| client);
        thread::spawn(move || accept(next, &of_thread));
        Proxy { shared, socket: PathBuf::new(), port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Closes all connections. New ones are accepted.
    pub fn cut(&self) {
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// New connections are closed at once, or not.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
        if refuses {
            self.cut();
        }
    }

    /// New connections lead to `target`, and the present ones are closed.
    pub fn lead_to(&self, target: &Path) {
        self.lead(Target::Socket(target.to_owned()));
    }

    /// The same for a link of ports.
    pub fn lead_to_port(&self, target: u16) {
        self.lead(Target::Port(target));
    }

    fn lead(&self, target: Target) {
        *self.shared.target.lock().unwrap() = target;
        self.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
    }
}

fn accept<E: End>(next: impl Fn() -> io::Result<E>, shared: &Arc<Shared>) {
    while !shared.ended.load(Ordering::SeqCst) {
        let Ok(client) = next() else {
            thread::sleep(NAP);
            continue;
        };
        // Before the target, so that a change of it closes this connection.
        let generation = shared.generation.load(Ordering::SeqCst);
        if shared.refuses.load(Ordering::SeqCst) {
            continue;
        }
        let target = shared.target.lock().unwrap().clone();
        let Ok(server) = E::connect(&target) else { continue };
        client.prepare();
        server.prepare();
        for (from, to, is_answer) in [(client.copy(), server.copy(), false), (server, client, true)] {
            let shared = Arc::clone(shared);
            thread::spawn(move || pump(from, to, is_answer, generation, &shared));
        }
    }
}

fn pump<E: End>(mut from: E, mut to: E, is_answer: bool, generation: u64, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    let is_over = || shared.generation.load(Ordering::SeqCst) != generation;
    let mode = || shared.mode.load(Ordering::SeqCst);
    while !is_over() {
        if mode() == Mode::Hole as u8 {
            thread::sleep(NAP);
            continue;
        }
        let len = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        while mode() == Mode::Hole as u8 && !is_over() {
            thread::sleep(NAP);
        }
        if is_over() {
            break;
        }
        if is_answer && mode() == Mode::Deaf as u8 {
            continue;
        }
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    from.close();
    to.close();
}
