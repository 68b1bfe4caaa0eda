//! The command `seqcast`, as an operator uses it: the built binary against workers in processes of their own.

mod doctor;
mod hostile;
mod looking;
mod posting;
mod pty;
mod relay;
mod removing;
mod scraping;
mod support;
mod top;

/// Not a test: the tests start this as a worker process. See `support::WorkerProcess`.
#[test]
#[ignore = "a worker process for the other tests"]
fn worker_process() {
    support::worker_process();
}
