//! An HTTP client with several connections. The kernel spreads them over the workers.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Result;
use crate::server::{CACHE, WORKER};

/// A connection is closed after this many requests. The next one may reach another worker.
const REQUESTS_PER_CONNECTION: u32 = 50;
const ATTEMPTS: u32 = 20;

pub struct Client {
    address: SocketAddr,
    connections: Vec<Option<Connection>>,
    random: fastrand::Rng,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    requests: u32,
}

pub struct Answer {
    pub status: StatusCode,
    pub worker: u64,
    pub is_hit: bool,
    pub body: String,
}

impl Client {
    pub fn new(address: SocketAddr, seed: u64) -> Client {
        let connections = (0..4).map(|_| None).collect();
        Client { address, connections, random: fastrand::Rng::with_seed(seed) }
    }

    /// Sends a request on one of the connections. If the connection breaks, sends the request again: all these requests
    /// may be repeated.
    pub async fn send(&mut self, method: Method, path: &str, body: &str) -> Result<Answer> {
        let mut last = "never sent".into();
        for _ in 0..ATTEMPTS {
            let at = self.random.usize(..self.connections.len());
            match self.try_send(at, method.clone(), path, body).await {
                Ok(answer) => return Ok(answer),
                Err(error) => (self.connections[at], last) = (None, error),
            }
        }
        Err(format!("{method} {path}: {last}").into())
    }

    async fn try_send(&mut self, at: usize, method: Method, path: &str, body: &str) -> Result<Answer> {
        let slot = &mut self.connections[at];
        if slot.as_ref().is_some_and(|it| it.sender.is_closed() || it.requests >= REQUESTS_PER_CONNECTION) {
            *slot = None;
        }
        let connection = match slot {
            Some(connection) => connection,
            None => slot.insert(connect(self.address).await?),
        };
        connection.requests += 1;
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost").body(body)?;
        connection.sender.ready().await?;
        Answer::read(connection.sender.send_request(request).await?).await
    }
}

async fn connect(address: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The task ends when the sender is dropped. The sender returns its error.
    tokio::spawn(connection);
    Ok(Connection { sender, requests: 0 })
}

impl Answer {
    async fn read(response: Response<Incoming>) -> Result<Answer> {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let worker = header(WORKER).ok_or("an answer without a worker")?.parse()?;
        let is_hit = header(CACHE) == Some("hit");
        let status = response.status();
        let body = String::from_utf8(response.into_body().collect().await?.to_bytes().into())?;
        if status.is_server_error() {
            return Err(format!("worker {worker} answered {status}: {body}").into());
        }
        Ok(Answer { status, worker, is_hit, body })
    }
}
