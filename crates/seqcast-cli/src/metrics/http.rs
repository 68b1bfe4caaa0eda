//! An HTTP server for one page, for clients of this host.
//!
//! Any process of the host may connect, and any web page in a browser of the host may make the browser connect.
//! Therefore a request must name this host (a page of another site that resolves its own name to this host does not), a
//! client has one deadline for its whole request and answer, and idle clients are dropped for new ones.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::task::AbortHandle;

use seqcast::inspect::Inspector;

use super::text;
use crate::args::Listen;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// The longest request head.
const MOST_REQUEST: usize = 8 << 10;
/// The longest time for one client, from its connection to the last byte of its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest number of clients at once. A new one displaces the oldest.
const MOST_CLIENTS: usize = 64;
/// The largest number of pages that are rendered at once.
const MOST_PAGES: usize = 4;
/// The delay if no client can be accepted because descriptors are used up.
const RETRY: Duration = Duration::from_millis(50);
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

pub fn serve(listen: &Listen, name: &str, output: &mut Output) -> Result<Exit, Failure> {
    // A wrong name is reported now instead of at every scrape. A segment that does not exist at the moment is not an
    // error.
    drop(Inspector::open_any(name)?);
    let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(MOST_PAGES).build();
    runtime.map_err(Failure::io("starting the server"))?.block_on(accept(listen, name, output))
}

async fn accept(listen: &Listen, name: &str, output: &mut Output) -> Result<Exit, Failure> {
    let address = listen.address;
    let listener = TcpListener::bind(address).await.map_err(Failure::io(format!("listening at {address}")))?;
    let address = listener.local_addr().map_err(Failure::io("listening"))?;
    let url = format!("http://{address}/metrics");
    if output.is_json() {
        output.json(&json!({ "listening": url }))?;
    } else {
        output.line(format_args!("listening at {url}"))?;
    }
    output.flush()?;
    let site = Arc::new(Site { segment: name.to_owned(), host: listen.host.clone() });
    let mut clients: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        // Neither a client that has left nor a lack of descriptors is a reason to end.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        clients.retain(|client| !client.is_finished());
        while clients.len() >= MOST_CLIENTS {
            if let Some(oldest) = clients.pop_front() {
                oldest.abort();
            }
        }
        clients.push_back(tokio::spawn(handle(client, Arc::clone(&site))).abort_handle());
    }
}

/// The served segment, and the accepted hosts.
struct Site {
    segment: String,
    /// The host name of the listening address, if it was given by name.
    host: Option<String>,
}

/// Answers one request.
async fn handle(client: impl AsyncRead + AsyncWrite + Unpin, site: Arc<Site>) {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(&request).await) }
    });
    let serving = http1::Builder::new()
        // The deadline below covers all of it.
        .header_read_timeout(None)
        .keep_alive(false)
        // A client may have finished sending and still wait for the answer.
        .half_close(true)
        .max_buf_size(MOST_REQUEST)
        .serve_connection(TokioIo::new(client), service);
    // A client that does not read, or speaks another protocol, needs no handling.
    let _ = tokio::time::timeout(PATIENCE, serving).await;
}

impl Site {
    async fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        if let Err((status, why)) = self.check_host(request) {
            return response(status, TEXT_TYPE, why);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, "only GET and HEAD\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/metrics" => {
                let segment = self.segment.clone();
                // Rendering may wait for a segment's creator. The other clients must not.
                match tokio::task::spawn_blocking(move || page(&segment)).await {
                    Ok(Ok(page)) => response(StatusCode::OK, METRICS_TYPE, page),
                    _ => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT_TYPE, "the page could not be rendered\n"),
                }
            }
            "/" => response(StatusCode::OK, TEXT_TYPE, "seqcast: see /metrics\n"),
            _ => response(StatusCode::NOT_FOUND, TEXT_TYPE, "see /metrics\n"),
        }
    }

    /// A page of another site can resolve its own name to this server and then read the answer, because for the browser
    /// both are the same origin. But it cannot make the browser send another name than its own.
    fn check_host(&self, request: &Request<Incoming>) -> Result<(), (StatusCode, &'static str)> {
        const MALFORMED: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "a request must have one Host\n");
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() || host.is_none() && request.version() != Version::HTTP_10 {
            return Err(MALFORMED);
        }
        let of_header = host.map(|host| Authority::try_from(host.as_bytes())).transpose().map_err(|_| MALFORMED)?;
        for authority in request.uri().authority().into_iter().chain(&of_header) {
            if !self.is_us(authority.host()) {
                let why = "this server is not that host: use localhost, 127.0.0.1 or the name it listens at\n";
                return Err((StatusCode::MISDIRECTED_REQUEST, why));
            }
        }
        Ok(())
    }

    fn is_us(&self, host: &str) -> bool {
        let bare = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let address = bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(&bare);
        match address.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => {
                let is_given = self.host.as_ref().is_some_and(|given| given.eq_ignore_ascii_case(&bare));
                // RFC 6761: such names resolve to this host everywhere.
                bare == "localhost" || bare.ends_with(".localhost") || is_given
            }
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Opens the segment for every scrape, to follow a segment that was created again.
fn page(name: &str) -> Result<String, fmt::Error> {
    let families = Inspector::open_any(name).and_then(|inspector| text::families(&inspector));
    let slashed = format!("/{}", name.trim_start_matches('/'));
    text::render(families.unwrap_or_else(|_| vec![text::up(&slashed, false)]))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::fixture;

    const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// The client's end of a connection to a server of the segment `name`, through a pipe of `room` bytes.
    fn connect(name: &str, room: usize) -> DuplexStream {
        let (client, server) = tokio::io::duplex(room);
        tokio::spawn(handle(server, Arc::new(Site { segment: name.to_owned(), host: Some("node1".to_owned()) })));
        client
    }

    async fn ask(name: &str, request: &str) -> String {
        let mut client = connect(name, 1 << 20);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Time stands still except for sleepers, which wake at once.
    fn in_paused_time(test: impl Future<Output = ()>) {
        runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn only_requests_for_this_host_are_answered() {
        let bus = fixture::bus("host");
        in_paused_time(async {
            for (target, host, status) in [
                ("/metrics", "Host: localhost", 200),
                ("/metrics", "Host: LocalHost.:9464", 200),
                ("/metrics", "Host: a.localhost", 200),
                ("/metrics", "Host: 127.0.0.1:1", 200),
                ("/metrics", "Host: 127.1.2.3", 200),
                ("/metrics", "Host: [::1]:9464", 200),
                ("/metrics", "Host: node1:9464", 200),
                ("http://localhost/metrics", "Host: localhost", 200),
                // Another site's name that resolves to this host.
                ("/metrics", "Host: evil.example", 421),
                ("/metrics", "Host: evil.example:9464", 421),
                ("/metrics", "Host: localhost.evil.example", 421),
                ("/metrics", "Host: evillocalhost", 421),
                ("/metrics", "Host: 127.0.0.1.evil.example", 421),
                ("/metrics", "Host: 10.0.0.1", 421),
                ("/metrics", "Host: 0.0.0.0", 421),
                ("/metrics", "Host: [fe80::1]", 421),
                ("/", "Host: evil.example", 421),
                ("http://evil.example/metrics", "Host: localhost", 421),
                ("http://localhost/metrics", "Host: evil.example", 421),
                ("/metrics", "X: y", 400),
                ("/metrics", "Host:", 400),
                ("/metrics", "Host: localhost\r\nHost: localhost", 400),
                ("/metrics", "Host: a b", 400),
            ] {
                let answer = ask(bus.name(), &format!("GET {target} HTTP/1.1\r\n{host}\r\n\r\n")).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {host}: {answer}");
                assert_eq!(answer.contains("seqcast_up"), status == 200, "{target} {host}: {answer}");
            }
            // HTTP/1.0 had no such field.
            assert!(ask(bus.name(), "GET /metrics HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
        });
    }

    #[test]
    fn a_request_that_comes_byte_by_byte_is_cut_off_at_the_deadline() {
        let bus = fixture::bus("drip");
        in_paused_time(async {
            let (start, mut client) = (Instant::now(), connect(bus.name(), 1 << 10));
            let mut sent = 0;
            while client.write_all(&REQUEST[sent..=sent]).await.is_ok() {
                sent += 1;
                sleep(Duration::from_secs(1)).await;
            }
            assert!((5..=6).contains(&sent), "{sent} bytes");
            assert!(start.elapsed() <= PATIENCE + Duration::from_secs(1));
        });
    }

    #[test]
    fn an_answer_that_is_read_byte_by_byte_is_cut_off_at_the_deadline() {
        let bus = fixture::bus("slow-reader");
        in_paused_time(async {
            let mut client = connect(bus.name(), 64);
            client.write_all(REQUEST).await.unwrap();
            let (mut read, mut byte) = (0, [0]);
            // The server can write again after each byte, so a deadline for each write would never pass.
            while matches!(client.read(&mut byte).await, Ok(1..)) {
                read += 1;
                sleep(Duration::from_millis(100)).await;
            }
            // The client still reads what the pipe held when the server left.
            assert!((50..=50 + 64 + 1).contains(&read), "{read} bytes");
        });
    }

    #[test]
    fn a_request_that_is_too_long_is_refused() {
        let bus = fixture::bus("long");
        in_paused_time(async {
            let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(MOST_REQUEST));
            let answer = ask(bus.name(), &request).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        });
    }
}
