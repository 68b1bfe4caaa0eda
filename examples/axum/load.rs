//! Clients that know the correct answer to each request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Answer, Client};

const CLIENTS: u64 = 8;
/// Only one client changes an item, so it knows the item's value.
const ITEMS_PER_CLIENT: u64 = 3;
/// How often an item is read after each change, over any connection.
const READS: u64 = 6;

pub struct Load {
    address: SocketAddr,
    until: Instant,
}

/// The results of the clients.
#[derive(Default)]
pub struct Tally {
    pub requests: u64,
    /// Answers from before a change that had been acknowledged.
    pub stale: u64,
    pub hits: u64,
    /// The number of answers of each worker.
    pub by_worker: BTreeMap<u64, u64>,
    /// The first stale answers, to be printed.
    pub findings: Vec<String>,
}

impl Load {
    pub fn new(address: SocketAddr, time: Duration) -> Load {
        Load { address, until: Instant::now() + time }
    }

    pub async fn run(self) -> Result<Tally> {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client::new(self.address, number);
            let paths = (0..ITEMS_PER_CLIENT).map(|item| format!("/items/{number}-{item}")).collect();
            clients.spawn(Reader { client, tally: Tally::default() }.change_and_read(paths, self.until));
        }
        // A new configuration is a change like any other.
        let reloading = Reader { client: Client::new(self.address, CLIENTS), tally: Tally::default() };
        clients.spawn(reloading.change_and_read(vec!["/config".to_owned()], self.until));
        let mut sum = Tally::default();
        while let Some(tally) = clients.join_next().await {
            sum.add(tally??);
        }
        Ok(sum)
    }
}

struct Reader {
    client: Client,
    tally: Tally,
}

impl Reader {
    async fn change_and_read(mut self, paths: Vec<String>, until: Instant) -> Result<Tally> {
        let mut version = 0;
        // Each change and each removal at least once, also on a host that has no time for more.
        while version < 2 || Instant::now() < until {
            version += 1;
            for path in &paths {
                let value = format!("version {version}");
                self.acknowledged(Method::PUT, path, &value).await?;
                self.read(path, Some(&value)).await?;
                if version % 2 == 0 && path != "/config" {
                    self.acknowledged(Method::DELETE, path, "").await?;
                    self.read(path, None).await?;
                }
            }
        }
        Ok(self.tally)
    }

    async fn acknowledged(&mut self, method: Method, path: &str, value: &str) -> Result<()> {
        let answer = self.send(method, path, value).await?;
        if answer.status == StatusCode::NO_CONTENT { Ok(()) } else { Err(format!("{path}: {}", answer.status).into()) }
    }

    /// Reads an item that must be `expected`.
    async fn read(&mut self, path: &str, expected: Option<&str>) -> Result<()> {
        for _ in 0..READS {
            let answer = self.send(Method::GET, path, "").await?;
            let found = (answer.status == StatusCode::OK).then_some(&*answer.body);
            self.tally.hits += u64::from(answer.is_hit);
            if found != expected {
                self.tally.stale += 1;
                let from = if answer.is_hit { "cache" } else { "database" };
                let text =
                    format!("{path} is {expected:?}: worker {} answers {found:?}, from its {from}", answer.worker);
                self.tally.findings.push(text);
            }
        }
        Ok(())
    }

    async fn send(&mut self, method: Method, path: &str, body: &str) -> Result<Answer> {
        let answer = self.client.send(method, path, body).await?;
        self.tally.requests += 1;
        *self.tally.by_worker.entry(answer.worker).or_default() += 1;
        Ok(answer)
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.stale += other.stale;
        self.hits += other.hits;
        for (worker, answers) in other.by_worker {
            *self.by_worker.entry(worker).or_default() += answers;
        }
        self.findings.extend(other.findings.into_iter().take(10));
    }
}
