//! A non-blocking connection that carries lines.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

/// The longest line.
const LONGEST: usize = 4096;

pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// The peer has closed the connection, or violated the protocol.
pub struct Closed;

impl Connection {
    pub fn new(stream: TcpStream) -> std::io::Result<Connection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: Vec::new() })
    }

    /// Reads what is available, and sends the result of `answer` for each complete line.
    pub fn serve(&mut self, mut answer: impl FnMut(&str) -> String) -> Result<(), Closed> {
        let mut buffer = [0; LONGEST];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Closed),
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Err(Closed),
            }
            while let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&self.received[..end]).into_owned();
                self.received.drain(..=end);
                // Answers are short, and a client waits for each: the socket has room.
                self.stream.write_all(format!("{}\n", answer(&line)).as_bytes()).map_err(|_| Closed)?;
            }
            if self.received.len() > LONGEST {
                return Err(Closed);
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
