//! The worker processes, started as a supervisor such as systemd would start them: they share only the segment's name.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpSocket;
use tokio::time::sleep;

use crate::Result;

pub struct Fleet {
    address: SocketAddr,
    /// Reserves the port. It does not listen.
    _port: TcpSocket,
    segment: String,
    database: PathBuf,
    careless: bool,
    members: Vec<Member>,
    missed: u64,
}

struct Member {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Fleet {
    pub fn start(workers: u64, careless: bool) -> Result<Fleet> {
        let port = TcpSocket::new_v4()?;
        port.set_reuseport(true)?;
        port.bind("127.0.0.1:0".parse()?)?;
        let pid = std::process::id();
        let database = std::env::temp_dir().join(format!("seqcast-axum-{pid}"));
        fs::create_dir(&database)?;
        let address = port.local_addr()?;
        let segment = format!("seqcast-axum-{pid}");
        let mut fleet = Fleet { address, _port: port, segment, database, careless, members: vec![], missed: 0 };
        for number in 0..workers {
            let member = fleet.spawn(number)?;
            fleet.members.push(member);
        }
        Ok(fleet)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn spawn(&self, number: u64) -> Result<Member> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(format!("--worker={number}")).arg(format!("--address={}", self.address));
        command.arg(format!("--segment={}", self.segment)).arg("--database").arg(&self.database);
        if self.careless {
            command.arg("--careless");
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line != "ready\n" {
            return Err(format!("worker {number} did not start: {line:?}, {}", process.wait()?).into());
        }
        Ok(Member { process, output })
    }

    /// Starts a second worker `number`, and tells the first to end when its requests are done.
    pub async fn restart(&mut self, number: usize) -> Result<()> {
        let next = self.spawn(number as u64)?;
        let old = std::mem::replace(&mut self.members[number], next);
        self.missed += old.end().await?;
        Ok(())
    }

    /// Returns how often a worker's thread is woken while nothing happens, on average.
    pub async fn idle_wakeups_per_second(&self, time: Duration) -> Result<f64> {
        // By then, the remaining requests are done.
        sleep(Duration::from_millis(500)).await;
        let before = self.wakeups()?;
        sleep(time).await;
        Ok((self.wakeups()? - before) as f64 / time.as_secs_f64() / self.members.len() as f64)
    }

    fn wakeups(&self) -> Result<u64> {
        let mut sum = 0;
        for member in &self.members {
            let status = fs::read_to_string(format!("/proc/{}/status", member.process.id()))?;
            let field = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sum += field.ok_or("no voluntary_ctxt_switches")?.trim().parse::<u64>()?;
        }
        Ok(sum)
    }

    /// Ends all workers. Returns how many events they missed.
    pub async fn stop(mut self) -> Result<u64> {
        for member in std::mem::take(&mut self.members) {
            self.missed += member.end().await?;
        }
        Ok(self.missed)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
        let _ = seqcast::unlink(&self.segment);
        let _ = fs::remove_dir_all(&self.database);
    }
}

impl Member {
    /// Tells the worker to end, and waits for it. Returns how many events it missed.
    async fn end(mut self) -> Result<u64> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let status = loop {
            if let Some(status) = self.process.try_wait()? {
                break status;
            }
            sleep(Duration::from_millis(5)).await;
        };
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        if !status.success() {
            return Err(format!("a worker ended with {status}: {rest}").into());
        }
        let missed = rest.lines().filter_map(|line| line.strip_prefix("missed ")?.parse::<u64>().ok());
        Ok(missed.sum())
    }
}
