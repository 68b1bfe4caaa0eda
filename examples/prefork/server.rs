//! The life of a worker process.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use seqcast::{Bus, Start, WorkerOptions};
use tokio::sync::mpsc;

use crate::Result;
use crate::args::Fault;
use crate::ledger::Ledger;
use crate::report::Sender;
use crate::routes;
use crate::site::Site;
use crate::upstreams::Upstreams;

/// How often one of the workers renders the front page for all.
pub const FRONT_PAGE_EVERY: Duration = Duration::from_secs(1);
/// How often a worker reports to the master, if there is little to report.
const REPORT_EVERY: Duration = Duration::from_millis(50);
/// How long a stopping worker lets its connections finish.
const GRACE: Duration = Duration::from_millis(500);

/// The parameters of a worker.
pub struct Birth {
    pub slot: usize,
    pub listener: TcpListener,
    /// The upstreams at the time when the master had handled all events before `first`.
    pub upstreams: Arc<Upstreams>,
    /// The first event to read.
    pub first: u64,
    pub unique_ttl: Duration,
    pub fault: Option<Fault>,
}

/// Runs a worker, in its forked process, until the master posts the stop event.
pub fn run(bus: &Bus, birth: Birth, reports: Sender) -> Result<()> {
    // The master created the bus; each child joins it after the fork. The worker belongs to the whole process and can
    // be used from anywhere in it.
    let options = WorkerOptions::new()
        .label(format!("worker {}", birth.slot))
        .start(Start::At(birth.first))
        .timeout(birth.unique_ttl);
    let worker = seqcast::process::configure_on(bus, &options)?;
    let ledger = Arc::new(Ledger::new(reports, birth.fault));
    ledger.joined(worker.cursor())?;

    // Nothing is delivered before the first poll, so no handler is registered too late.
    let site = Site::new(birth.slot, worker, ledger, birth.upstreams);
    site.subscribe()?;

    // A thread that sleeps until an event is posted, and then calls the handlers. The alternative is to call `poll`
    // from the event loop. Requests do that too, see `routes::catch_up`.
    let poller = worker.start_poller()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&site, birth.listener))?;
    poller.stop()?;

    site.ledger.send()?;
    Ok(seqcast::process::leave()?)
}

async fn serve(site: &Arc<Site>, listener: TcpListener) -> Result<()> {
    let connections = GracefulShutdown::new();
    let mut arrivals = accept(listener)?;
    let reporting = tokio::spawn(report(Arc::clone(site)));
    let rendering = tokio::spawn(render_front_page(Arc::clone(site)));
    loop {
        let stream = tokio::select! {
            () = site.stopped() => break,
            Some(stream) = arrivals.recv() => stream,
        };
        let (site, watcher) = (Arc::clone(site), connections.watcher());
        tokio::spawn(async move {
            // A client that disconnects early needs no handling.
            converse(site, stream, watcher).await.unwrap_or_default();
        });
    }
    reporting.abort();
    rendering.abort();
    // With a timeout, because the live feed has no end.
    let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
    Ok(())
}

/// Accepts connections on the socket that all workers share. It uses a blocking thread instead of the event loop: among
/// threads blocked in accept, the kernel wakes the one that has waited longest, so the workers take turns.
fn accept(listener: TcpListener) -> Result<mpsc::UnboundedReceiver<TcpStream>> {
    let (sender, arrivals) = mpsc::unbounded_channel();
    let accept_all = move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    if sender.send(stream).is_err() {
                        return;
                    }
                }
                // The client has disconnected again, or there are no descriptors left at the moment.
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    };
    thread::Builder::new().name("accept".to_owned()).spawn(accept_all)?;
    Ok(arrivals)
}

async fn converse(site: Arc<Site>, stream: TcpStream, connections: Watcher) -> Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
    let service = service_fn(move |request| routes::answer(Arc::clone(&site), request));
    Ok(connections.watch(http1::Builder::new().serve_connection(stream, service)).await?)
}

async fn report(site: Arc<Site>) {
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        // If this fails, the master is gone, and the kernel is about to kill this process.
        let _ = site.ledger.send();
    }
}

async fn render_front_page(site: Arc<Site>) {
    loop {
        if let Err(error) = site.render_front_page() {
            eprintln!("worker {}: front page: {error}", site.slot);
        }
        tokio::time::sleep(FRONT_PAGE_EVERY / 4).await;
    }
}
