//! The life of a worker process.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use seqcast::tokio::AsyncWorker;
use seqcast::{ErrorKind, SegmentOptions, Worker, WorkerOptions};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};

use crate::database::Database;
use crate::site::{CONFIG, Found, Site, report};
use crate::{Args, Result};

/// The number of the worker that answered.
pub const WORKER: &str = "x-worker";
/// `hit` if the answer is from the worker's cache.
pub const CACHE: &str = "x-cache";

struct Service {
    site: Arc<Site>,
    number: HeaderValue,
}

/// Serves until SIGTERM. Then it takes no new connections, finishes its requests, and leaves the bus.
pub async fn run(number: u64, args: &Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let options = SegmentOptions::new().capacity(1 << 14);
    let bus = options.open_or_create(&args.segment)?;
    let worker = bus.join_with(&WorkerOptions::new().label(format!("axum {number}")).on_report(report))?;
    let site = Site::new(worker, Database::at(&args.database), args.careless)?;
    // Between requests the handlers run on this task, when the worker's bell is rung.
    let polling = if args.careless {
        tokio::spawn(poll_by_timer(site.worker.clone()))
    } else {
        tokio::spawn(AsyncWorker::new(&site.worker)?.run())
    };

    let service = Arc::new(Service { site: Arc::clone(&site), number: HeaderValue::from(number) });
    let routes = Router::new()
        .route("/items/{key}", get(get_item).put(put_item).delete(delete_item))
        .route("/config", get(get_config).put(put_config))
        .with_state(service);
    println!("ready");
    let draining = async move { _ = terminate.recv().await };
    axum::serve(listen(args)?, routes).with_graceful_shutdown(draining).await?;

    site.worker.clone().leave()?;
    polling.await??;
    Ok(())
}

/// A service without a bell polls at an interval. Its caches may be outdated for that long.
async fn poll_by_timer(worker: Worker) -> seqcast::Result<()> {
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        match worker.poll_now() {
            Err(error) if error.kind() == ErrorKind::Left => return Ok(()),
            polled => polled?,
        };
    }
}

fn listen(args: &Args) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(args.address)?;
    Ok(socket.listen(1024)?)
}

async fn get_item(State(service): State<Arc<Service>>, Path(key): Path<String>) -> Response {
    service.answer(service.site.get(&key))
}

async fn put_item(State(service): State<Arc<Service>>, Path(key): Path<String>, value: String) -> Response {
    service.answer(service.site.put(&key, &value))
}

async fn delete_item(State(service): State<Arc<Service>>, Path(key): Path<String>) -> Response {
    service.answer(service.site.delete(&key))
}

async fn get_config(State(service): State<Arc<Service>>) -> Response {
    service.answer(service.site.get(CONFIG))
}

async fn put_config(State(service): State<Arc<Service>>, value: String) -> Response {
    service.answer(service.site.put(CONFIG, &value))
}

impl Service {
    fn answer<T: IntoAnswer>(&self, result: Result<T>) -> Response {
        let mut response = match result {
            Ok(done) => done.into_answer(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        };
        response.headers_mut().insert(WORKER, self.number.clone());
        response
    }
}

trait IntoAnswer {
    fn into_answer(self) -> Response;
}

impl IntoAnswer for () {
    fn into_answer(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl IntoAnswer for Found {
    fn into_answer(self) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE, HeaderValue::from_static(if self.is_hit { "hit" } else { "miss" }));
        match self.value {
            Some(value) => (headers, value).into_response(),
            None => (StatusCode::NOT_FOUND, headers).into_response(),
        }
    }
}
