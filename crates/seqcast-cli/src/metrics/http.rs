//! A small HTTP server for one page, for clients of this host.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use seqcast::inspect::Inspector;

use super::text;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// The longest request that is read.
const MOST_REQUEST: usize = 8 << 10;
/// The longest that one client may take for its request and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients served at once.
const MOST_CLIENTS: usize = 8;
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub fn serve(address: SocketAddr, name: &str, output: &mut Output) -> Result<Exit, Failure> {
    // A wrong name is better told now than at every scrape; a segment that comes and goes is none.
    drop(Inspector::open_any(name)?);
    let listener = TcpListener::bind(address).map_err(Failure::io(format!("listening at {address}")))?;
    let address = listener.local_addr().map_err(Failure::io("listening"))?;
    let url = format!("http://{address}/metrics");
    match output.is_json() {
        true => output.json(&json!({ "listening": url }))?,
        false => output.line(format_args!("listening at {url}"))?,
    }
    output.flush()?;
    let (name, clients) = (Arc::<str>::from(name), Arc::new(AtomicUsize::new(0)));
    loop {
        let (client, _) = match listener.accept() {
            Ok(accepted) => accepted,
            // Gone again, or out of descriptors: neither is a reason to end, nor to spin.
            Err(_) => {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if clients.fetch_add(1, Ordering::Relaxed) >= MOST_CLIENTS {
            clients.fetch_sub(1, Ordering::Relaxed);
            let _ = answer(&client, "503 Service Unavailable", "text/plain", "", "too many clients\n", false);
            continue;
        }
        let (name, served) = (Arc::clone(&name), Served(Arc::clone(&clients)));
        let spawned = std::thread::Builder::new().name("metrics".into()).spawn(move || {
            let _served = served;
            // A client that does not listen is its own affair.
            let _ = handle(&client, &name);
        });
        // Without a thread the client is dropped, and counted out with `served`.
        drop(spawned);
    }
}

/// Counts a client out when it is served, however that ends.
struct Served(Arc<AtomicUsize>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn handle(client: &TcpStream, name: &str) -> io::Result<()> {
    let request = read_head(client)?;
    let mut words = request.lines().next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !version.is_some_and(|version| version.starts_with("HTTP/1.")) {
        return answer(client, "400 Bad Request", "text/plain", "", "this is no HTTP/1 request\n", false);
    }
    let is_head = match method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return answer(client, "405 Method Not Allowed", "text/plain", "Allow: GET, HEAD\r\n", "", false),
    };
    let path = target.unwrap_or_default().split('?').next().unwrap_or_default();
    match path {
        "/metrics" => answer(client, "200 OK", TEXT, "", &page(name), is_head),
        "/" => answer(client, "200 OK", "text/plain", "", "seqcast: see /metrics\n", is_head),
        _ => answer(client, "404 Not Found", "text/plain", "", "see /metrics\n", is_head),
    }
}

/// Opened anew for every scrape, so that a segment that was created anew is followed.
fn page(name: &str) -> String {
    let families = Inspector::open_any(name).and_then(|inspector| text::families(&inspector));
    let slashed = format!("/{}", name.trim_start_matches('/'));
    text::render(&families.unwrap_or_else(|_| vec![text::up(&slashed, false)]))
}

/// The request up to its first empty line.
fn read_head(mut client: &TcpStream) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > MOST_REQUEST {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_read_timeout(Some(left))?;
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => head.extend_from_slice(&buffer[..len]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn answer(mut client: &TcpStream, status: &str, kind: &str, more: &str, body: &str, is_head: bool) -> io::Result<()> {
    client.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    if is_head { Ok(()) } else { client.write_all(body.as_bytes()) }
}
