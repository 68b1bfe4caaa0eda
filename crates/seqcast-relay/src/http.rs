//! An HTTP server for one page, for clients of this host.
//!
//! Any process of the host may connect, and any web page in a browser of the host may make the browser connect. So a
//! request must name this host, has a deadline, and is answered one at a time.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::context::Context;

/// The longest request head.
const MOST_REQUEST: usize = 8 << 10;
const MOST_FIELDS: usize = 32;
/// The longest time for one client, from its connection to the last byte of its answer.
const PATIENCE: Duration = Duration::from_secs(2);
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// Where to listen: at a loopback address only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    address: SocketAddr,
    /// The host name, if the address was given by name.
    host: Option<String>,
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let resolved = text.to_socket_addrs();
        let addresses: Vec<SocketAddr> =
            resolved.map_err(|_| "it must be an address and a port, such as 127.0.0.1:9465".to_owned())?.collect();
        if let Some(other) = addresses.iter().find(|address| !address.ip().is_loopback()) {
            return Err(format!("{} can be reached from other hosts: use 127.0.0.1 or [::1]", other.ip()));
        }
        let address = *addresses.first().ok_or_else(|| "it resolves to no address".to_owned())?;
        let by_name = text.parse::<SocketAddr>().is_err();
        Ok(Listen { address, host: text.rsplit_once(':').filter(|_| by_name).map(|(host, _)| host.to_owned()) })
    }
}

/// Serves `/metrics` and `/health` on a thread of its own, as long as the process lives. Returns the address.
///
/// # Errors
///
/// If the address cannot be listened at.
pub fn serve(listen: Listen, context: Arc<Context>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen.address)?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("metrics".into()).spawn(move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => drop(answer(stream, &listen, &context)),
                // Descriptors are used up.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    })?;
    Ok(address)
}

fn answer(mut stream: TcpStream, listen: &Listen, context: &Context) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let answer = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        let mut part = [0; 1024];
        match stream.read(&mut part)? {
            0 => return Ok(()),
            len => head.extend_from_slice(&part[..len]),
        }
        if let Some(answer) = respond(&head, listen, context) {
            break answer;
        }
    };
    let mut rest = answer.as_bytes();
    while !rest.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_write_timeout(Some(left))?;
        rest = &rest[stream.write(rest)?..];
    }
    Ok(())
}

/// The answer to a request, or `None` if it is not complete.
fn respond(head: &[u8], listen: &Listen, context: &Context) -> Option<String> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Partial) if head.len() <= MOST_REQUEST => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(page(431, "Request Header Fields Too Large", TEXT_TYPE, "too long\n"));
        }
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return Some(page(400, "Bad Request", TEXT_TYPE, "not a request\n")),
    }
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let (host, more) = (hosts.next(), hosts.next());
    let host = host.filter(|_| more.is_none()).and_then(|field| std::str::from_utf8(field.value).ok());
    // A page of another site can resolve its own name to this server, but cannot make a browser send another name.
    match host {
        None => return Some(page(400, "Bad Request", TEXT_TYPE, "a request must have one Host\n")),
        Some(host) if !is_us(host, listen.host.as_deref()) => {
            let why = "this server is not that host: use localhost, 127.0.0.1 or the name it listens at\n";
            return Some(page(421, "Misdirected Request", TEXT_TYPE, why));
        }
        Some(_) => {}
    }
    Some(match (request.method, request.path) {
        (Some("GET"), Some("/metrics")) => page(200, "OK", METRICS_TYPE, &context.metrics.page()),
        (Some("GET"), Some("/health")) => {
            let health = context.health();
            let (status, reason) = match health {
                seqcast::relay::Health::Up => (200, "OK"),
                _ => (503, "Service Unavailable"),
            };
            page(status, reason, TEXT_TYPE, &format!("{}\n", health.name()))
        }
        (Some("GET"), _) => page(404, "Not Found", TEXT_TYPE, "see /metrics and /health\n"),
        _ => page(405, "Method Not Allowed", TEXT_TYPE, "only GET\n"),
    })
}

fn is_us(host: &str, given: Option<&str>) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    };
    let bare = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    let address = bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(&bare);
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        // RFC 6761: such names resolve to this host everywhere.
        Err(_) => {
            bare == "localhost"
                || bare.ends_with(".localhost")
                || given.is_some_and(|given| given.eq_ignore_ascii_case(&bare))
        }
    }
}

fn page(status: u16, reason: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Options;
    use crate::log::Log;

    fn status(request: &str) -> Option<String> {
        let listen = Listen { address: "127.0.0.1:1".parse().unwrap(), host: Some("node1".into()) };
        let context = Context::new(Options::default(), Log::silent());
        respond(request.as_bytes(), &listen, &context).map(|answer| answer[9..12].to_owned())
    }

    #[test]
    fn only_requests_for_this_host_are_answered() {
        for (path, host, expected) in [
            ("/metrics", "Host: localhost", "200"),
            ("/metrics", "host: 127.0.0.1:9465", "200"),
            ("/metrics", "Host: [::1]:9465", "200"),
            ("/metrics", "Host: NODE1:9465", "200"),
            ("/metrics", "Host: a.localhost.", "200"),
            ("/health", "Host: localhost", "503"),
            ("/", "Host: localhost", "404"),
            ("/metrics", "Host: evil.example", "421"),
            ("/metrics", "Host: evillocalhost", "421"),
            ("/metrics", "Host: 127.0.0.1.evil.example", "421"),
            ("/metrics", "Host: 10.0.0.1", "421"),
            ("/metrics", "X: y", "400"),
            ("/metrics", "Host: localhost\r\nHost: localhost", "400"),
        ] {
            let answer = status(&format!("GET {path} HTTP/1.1\r\n{host}\r\n\r\n"));
            assert_eq!(answer.as_deref(), Some(expected), "{path} {host}");
        }
        assert_eq!(status("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").as_deref(), Some("405"));
        assert_eq!(status("\0\0\r\n\r\n").as_deref(), Some("400"));
    }

    #[test]
    fn a_request_is_bounded() {
        assert_eq!(status("GET /metrics HTTP/1.1\r\nHost: loc"), None, "it is not complete");
        let long = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(MOST_REQUEST));
        assert_eq!(status(&long).as_deref(), Some("431"));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MOST_FIELDS + 1));
        assert_eq!(status(&many).as_deref(), Some("431"));
    }

    #[test]
    fn only_this_host_can_be_listened_at() {
        for good in ["127.0.0.1:9465", "[::1]:0", "localhost:9465"] {
            assert!(good.parse::<Listen>().is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:9465", "[::]:9465", "10.0.0.1:1", "127.0.0.1", "", ":1"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_page_is_served() {
        let context = Arc::new(Context::new(Options::default(), Log::silent()));
        let address = serve("127.0.0.1:0".parse().unwrap(), context).unwrap();
        let ask = || {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            io::Result::Ok(page)
        };
        // A client that takes too long gets nothing.
        let page = (0..20).find_map(|_| ask().ok().filter(|page| page.ends_with("# EOF\n"))).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("# EOF\n"), "{page}");
    }
}
