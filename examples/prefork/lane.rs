//! The driver's connection to one worker.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::Result;
use crate::routes::{CACHE, EVENT_ID, PID, WORKER};

/// The longest time to get a connection to a certain worker.
const CONNECT_WITHIN: Duration = Duration::from_secs(120);

type Connection = SendRequest<Empty<Bytes>>;

/// A connection to the worker in one slot, whichever process it is.
#[derive(Debug)]
pub struct Lane {
    address: SocketAddr,
    slot: usize,
    connection: Mutex<Option<Connection>>,
}

/// A worker's answer.
#[derive(Debug)]
pub struct Answer {
    pub slot: Option<usize>,
    pub pid: u32,
    /// The event that the request posted.
    pub event_id: Option<u64>,
    /// `true` if the page was in the worker's cache.
    pub hit: bool,
    pub body: String,
}

impl Lane {
    pub fn new(address: SocketAddr, slot: usize) -> Lane {
        Lane { address, slot, connection: Mutex::new(None) }
    }

    /// Sends a request and waits for the answer. Returns `None` if the connection broke meanwhile: then it is unknown
    /// whether the worker acted on the request, and it is not sent again.
    pub async fn send(&self, method: Method, path: &str) -> Result<Option<Answer>> {
        let mut lane = self.connection.lock().await;
        if lane.as_ref().is_none_or(Connection::is_closed) {
            *lane = Some(self.connect_to_slot().await?);
        }
        let Some(connection) = &mut *lane else { return Ok(None) };
        let Ok(answer) = exchange(connection, method, path).await else {
            *lane = None;
            return Ok(None);
        };
        Ok(Some(answer))
    }

    /// Connects until the wanted worker accepts. All workers share one socket, so the client cannot choose.
    async fn connect_to_slot(&self) -> Result<Connection> {
        let start = Instant::now();
        while start.elapsed() < CONNECT_WITHIN {
            if let Ok(mut connection) = connect(self.address).await
                && let Ok(answer) = exchange(&mut connection, Method::GET, "/").await
                && answer.slot == Some(self.slot)
            {
                return Ok(connection);
            }
            sleep(Duration::from_millis(1)).await;
        }
        Err(format!("no connection to worker {} in {CONNECT_WITHIN:?}", self.slot).into())
    }
}

/// Opens a new connection, to whichever worker accepts it.
pub async fn connect(address: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the sender is dropped. The sender returns its error.
    tokio::spawn(connection);
    Ok(sender)
}

/// A request without a body.
pub fn request(method: Method, path: &str) -> Result<Request<Empty<Bytes>>> {
    Ok(Request::builder().method(method).uri(path).header(HOST, "localhost").body(Empty::new())?)
}

async fn exchange(connection: &mut Connection, method: Method, path: &str) -> Result<Answer> {
    connection.ready().await?;
    let answer = connection.send_request(request(method, path)?).await?;
    let (slot, pid, event_id) = (header(&answer, WORKER), header(&answer, PID), header(&answer, EVENT_ID));
    let hit = header::<String>(&answer, CACHE).is_some_and(|cache| cache == "hit");
    let status = answer.status();
    let body = String::from_utf8(answer.into_body().collect().await?.to_bytes().into())?;
    if status.is_server_error() {
        eprintln!("driver: {path}: {status}: {}", body.trim_end());
    }
    Ok(Answer { slot, pid: pid.ok_or("an answer without a pid")?, event_id, hit, body })
}

fn header<T: std::str::FromStr>(answer: &Response<Incoming>, name: &str) -> Option<T> {
    answer.headers().get(name)?.to_str().ok()?.parse().ok()
}
