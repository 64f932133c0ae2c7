//! A proxy before an HTTP server that spoils requests.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the server hears of it.
    Unheard,
    /// The connection ends in the middle of what is sent.
    CutWhileSending,
    /// The server does what it is asked, and the connection ends in the middle of its answer.
    CutWhileAnswering,
    /// The server is not asked; the answer has this status.
    Status(u16),
}

/// Which requests are spoiled.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// How.
    pub what: Fault,
    /// The first one, counted from 0.
    pub from: usize,
    /// How many, from that on.
    pub count: usize,
}

/// Listens on a port of its own until the process ends. Each connection carries one request.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    requests: Vec<String>,
    faults: Option<Faults>,
}

impl Proxy {
    /// Stands before the server at `target`.
    ///
    /// # Panics
    /// Where it can't listen.
    #[must_use]
    pub fn start(target: SocketAddr, faults: Option<Faults>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Vec::new();
        let state = Arc::new(Mutex::new(State { requests, faults }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // A connection that fails is one that was cut.
                thread::spawn(move || carry(&stream, target, &shared).ok());
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing is spoiled.
    pub fn heal(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).faults = None;
    }

    /// The first lines of all requests until now.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests.clone()
    }
}

impl State {
    fn next(&mut self, request: &str) -> Option<Fault> {
        let number = self.requests.len();
        self.requests.push(request.trim_end().to_owned());
        let faults = self.faults?;
        let spoiled = faults.from..faults.from.saturating_add(faults.count);
        spoiled.contains(&number).then_some(faults.what)
    }
}

fn carry(stream: &TcpStream, target: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let mut client = BufReader::new(stream);
    let mut first = String::new();
    if client.read_line(&mut first)? == 0 {
        return Ok(());
    }
    let (mut head, mut length, mut goes_on) = (first.clone(), 0, false);
    loop {
        let mut line = String::new();
        client.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        goes_on |= lower.starts_with("expect:");
        if line.trim_end().is_empty() {
            break;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    assert!(
        !goes_on,
        "a client that waits for `100 Continue` is not known here"
    );
    head.push_str("Connection: close\r\n\r\n");
    let fault = state.lock().unwrap_or_else(PoisonError::into_inner).next(&first);
    let mut body = client.take(length);
    match fault {
        Some(Fault::Unheard) => return stream.shutdown(Shutdown::Both),
        Some(Fault::Status(status)) => {
            io::copy(&mut body, &mut io::sink())?;
            let answer =
                format!("HTTP/1.1 {status} Spoiled\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let mut stream = stream;
            return stream.write_all(answer.as_bytes());
        }
        Some(Fault::CutWhileSending | Fault::CutWhileAnswering) | None => {}
    }
    let mut server = TcpStream::connect(target)?;
    server.write_all(head.as_bytes())?;
    if fault == Some(Fault::CutWhileSending) {
        io::copy(&mut body.take(length / 2), &mut server)?;
        // What it makes of this is over before the client can ask again.
        server.shutdown(Shutdown::Write)?;
        io::copy(&mut server, &mut io::sink())?;
        return stream.shutdown(Shutdown::Both);
    }
    io::copy(&mut body, &mut server)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if fault == Some(Fault::CutWhileAnswering) {
        answer.truncate(answer.len() / 2);
    }
    let mut stream = stream;
    stream.write_all(&answer)?;
    stream.shutdown(Shutdown::Both)
}
