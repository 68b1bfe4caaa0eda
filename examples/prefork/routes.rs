//! HTTP requests that read a worker's memory and post events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use seqcast::{Event, Handler, Polled, Scope, TypedEvent, Worker};
use tokio::sync::mpsc;

use crate::events::{Invalidate, Render, cache, health, jobs, now_ns};
use crate::site::{Page, Site};

/// The worker that answered.
pub const WORKER: &str = "x-worker";
/// Its process id.
pub const PID: &str = "x-pid";
/// The id of the event that a request posted.
pub const EVENT_ID: &str = "x-event-id";
/// `hit` or `miss`: tells whether a page was in the worker's cache.
pub const CACHE: &str = "x-cache";

/// The text of `GET /help`.
pub const HELP: &str = "\
GET    /                     facts about the worker that answers
GET    /items/KEY            a page, from its cache or rendered again (x-cache: hit or miss)
DELETE /items/KEY            all workers drop the page
DELETE /items                all workers drop all pages
POST   /items/KEY/refresh    one worker renders the page again, all keep it
GET    /upstreams            the worker's table of upstreams
PUT    /upstreams/NAME/down  all workers mark it down
PUT    /upstreams/NAME/up    all workers mark it up
GET    /events               events as they arrive at this worker, until you disconnect
";

/// The longest key of a page, in bytes.
const MOST_KEY: usize = 128;
/// The number of lines that a slow reader of the live feed may be behind; further lines are dropped.
const FEED_LINES: usize = 1024;

type Answer = Response<Either<Full<Bytes>, Feed>>;

/// Answers a request.
pub async fn answer(site: Arc<Site>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let mut answer = match route(&site, &request).await {
        Ok(answer) => answer,
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    answer.headers_mut().insert(WORKER, site.slot.into());
    answer.headers_mut().insert(PID, std::process::id().into());
    Ok(answer)
}

async fn route(site: &Arc<Site>, request: &Request<Incoming>) -> seqcast::Result<Answer> {
    let worker = site.worker;
    // Events posted before this request must affect its answer.
    catch_up(worker).await?;

    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    if let ["items", key, ..] = path[..]
        && !(1..=MOST_KEY).contains(&key.len())
    {
        return Ok(text(StatusCode::BAD_REQUEST, format!("a key has 1 to {MOST_KEY} bytes\n")));
    }
    if let ["upstreams", name, ..] = path[..]
        && !site.upstreams.has(name)
    {
        return Ok(text(StatusCode::NOT_FOUND, "no such upstream\n"));
    }
    Ok(match (request.method(), &path[..]) {
        (&Method::GET, [""]) => text(StatusCode::OK, site.status()),
        (&Method::GET, ["help"]) => text(StatusCode::OK, HELP),
        (&Method::GET, ["items", key]) => page(site, key),
        (&Method::DELETE, ["items", key]) => {
            let key = (*key).to_owned();
            posted(worker.post(Invalidate::TOPIC, &Invalidate { key, posted_ns: now_ns() })?)
        }
        (&Method::DELETE, ["items"]) => posted(worker.post(cache::PURGE, b"")?),
        (&Method::POST, ["items", key, "refresh"]) => {
            let wanted = Render { key: (*key).to_owned() };
            // The key makes it unique: one of the workers renders the page, and requests for the same page are ignored
            // until the ttl is over.
            posted(worker.event(jobs::RENDER).unique(*key).post(&wanted)?)
        }
        (&Method::GET, ["upstreams"]) => text(StatusCode::OK, site.upstreams.to_string()),
        (&Method::PUT, ["upstreams", name, "down"]) => posted(worker.post(health::DOWN, name)?),
        (&Method::PUT, ["upstreams", name, "up"]) => posted(worker.post(health::UP, name)?),
        (&Method::GET, ["events"]) => Response::new(Either::Right(Feed::new(worker)?)),
        _ => text(StatusCode::NOT_FOUND, HELP),
    })
}

/// Handles the events that have been posted so far. If all workers do this before they answer, a client that was told
/// "posted" by one of them gets no older answer from another. If there is nothing new, it costs a few nanoseconds.
async fn catch_up(worker: &Worker) -> seqcast::Result<()> {
    while worker.poll()? == Polled::Busy {
        // The poller's thread is polling, and finishes in a moment.
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(text.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn posted(id: u64) -> Answer {
    let mut answer = text(StatusCode::ACCEPTED, format!("posted as event {id}\n"));
    answer.headers_mut().insert(EVENT_ID, id.into());
    answer
}

fn page(site: &Site, key: &str) -> Answer {
    let (page, how) = match site.page(key) {
        Page::Cached(page) => (page, "hit"),
        Page::Fresh(page) => (page, "miss"),
        Page::Unavailable => return text(StatusCode::SERVICE_UNAVAILABLE, "all upstreams are down\n"),
    };
    let mut answer = text(StatusCode::OK, Bytes::copy_from_slice(page.as_bytes()));
    answer.headers_mut().insert(CACHE, HeaderValue::from_static(how));
    answer
}

/// A response that continues for as long as the client listens: a line for each event.
pub struct Feed {
    lines: mpsc::Receiver<Bytes>,
    /// The worker holds it weakly. When the client disconnects, this response is dropped, and the handler with it.
    _handler: Arc<dyn Handler>,
}

impl Feed {
    fn new(worker: &Worker) -> seqcast::Result<Feed> {
        let (sender, lines) = mpsc::channel(FEED_LINES);
        let handler = Arc::new(move |event: &Event<'_>| {
            let (source, name, bytes) = (event.source(), event.event(), event.bytes().len());
            let line = match (event.id(), event.pid()) {
                (Some(id), Some(pid)) => format!("{id} {source}/{name} from pid {pid}, {bytes} bytes\n"),
                _ => format!("local {source}/{name}\n"),
            };
            // A handler must not wait. A client that is too slow misses lines.
            let _ = sender.try_send(line.into());
        });
        worker.register_weak(Scope::All, &handler)?;
        Ok(Feed { lines, _handler: handler })
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
