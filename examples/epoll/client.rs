//! Clients that know the correct answer to each request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Result;

/// How often a value is read after it was set, over any connection.
const READS: u64 = 5;
const CONNECTIONS: usize = 6;

#[derive(Default)]
pub struct Tally {
    pub requests: u64,
    /// Values from before a change that had been acknowledged.
    pub stale: u64,
}

/// Sets the value of one key and reads it, on connections to several workers.
pub fn run(address: SocketAddr, number: u64, until: Instant) -> Result<Tally> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut tally = Tally::default();
    let mut lines: Vec<Option<Line>> = (0..CONNECTIONS).map(|_| None).collect();
    let mut ask = |request: &str| {
        for _ in 0..100 {
            let slot = &mut lines[random.usize(..CONNECTIONS)];
            match Line::ask(slot, address, request) {
                Ok(answer) if answer == "busy" => std::thread::yield_now(),
                Ok(answer) => return Ok(answer),
                // The worker was killed. Both requests may be sent again.
                Err(_) => *slot = None,
            }
        }
        Err(format!("no answer to {request:?}"))
    };
    let mut version = 0_u64;
    while version == 0 || Instant::now() < until {
        version += 1;
        let value = format!("value {version}");
        let answer = ask(&format!("set key-{number} {version}"))?;
        if answer != "ok" {
            return Err(format!("set was answered by {answer:?}").into());
        }
        for _ in 0..READS {
            tally.stale += u64::from(ask(&format!("get key-{number}"))? != value);
        }
        tally.requests += 1 + READS;
    }
    Ok(tally)
}

struct Line {
    reader: BufReader<TcpStream>,
}

impl Line {
    fn ask(slot: &mut Option<Line>, address: SocketAddr, request: &str) -> Result<String> {
        let line = match slot {
            Some(line) => line,
            None => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(120)))?;
                slot.insert(Line { reader: BufReader::new(stream) })
            }
        };
        line.reader.get_mut().write_all(format!("{request}\n").as_bytes())?;
        let mut answer = String::new();
        if line.reader.read_line(&mut answer)? == 0 {
            return Err("closed".into());
        }
        Ok(answer.trim_end().to_owned())
    }
}
