//! The same contract over a byte stream, so that hub and laptop can be two processes in one air.
//!
//! Place: a process with machines uses [`RemoteRadio`]; the process that holds the air calls [`serve`] on a thread for
//! each connection. Frames and their limits: [`mod@codec`].
//! Invariant: a peer that sends nonsense, too much, or nothing loses its own radio and harms no other.

mod client;
mod codec;
mod server;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub use client::RemoteRadio;
pub use codec::{CodecError, PROTOCOL_VERSION};
pub use server::serve;

/// Longest wait for the first message, and for a peer to take what was sent to it.
pub const LINK_WAIT_MAX: Duration = Duration::from_secs(30);

/// A byte stream both ends of which can be used by threads of their own.
pub trait Link: Send + Sync + Sized + 'static {
    /// The half that reads.
    type Reader: Read + Send + 'static;
    /// The half that writes.
    type Writer: Write + Send + 'static;
    /// Takes it apart. Keep the link itself for [`Self::end`].
    ///
    /// # Errors
    /// Those of the operating system.
    fn halves(&self) -> io::Result<(Self::Reader, Self::Writer)>;
    /// Longest wait of one read (`None`: for ever) and one write.
    ///
    /// # Errors
    /// Those of the operating system.
    fn deadlines(&self, read: Option<Duration>, write: Duration) -> io::Result<()>;
    /// Ends it: reads and writes of both halves return.
    fn end(&self);
}

macro_rules! link {
    ($socket:ty) => {
        impl Link for $socket {
            type Reader = $socket;
            type Writer = $socket;

            fn halves(&self) -> io::Result<($socket, $socket)> {
                Ok((self.try_clone()?, self.try_clone()?))
            }

            fn deadlines(&self, read: Option<Duration>, write: Duration) -> io::Result<()> {
                self.set_read_timeout(read)?;
                self.set_write_timeout(Some(write))
            }

            fn end(&self) {
                // An error says that it has ended already.
                let _ = self.shutdown(Shutdown::Both);
            }
        }
    };
}

link!(UnixStream);
link!(TcpStream);

/// Why a remote radio can't be had or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The byte stream failed or did not move in time.
    #[error("the connection to the air failed")]
    Link(#[from] io::Error),
    /// The peer does not speak this protocol.
    #[error("the other end is not of this air")]
    Codec(#[from] CodecError),
    /// The air does not take this radio.
    #[error("the air refused this radio: {0}")]
    Refused(String),
}

impl RemoteError {
    /// What a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Link(_) => "Is berth-air running, and is this its socket?",
            Self::Codec(_) => "Use the same version of every program.",
            Self::Refused(_) => "Give every program in this air a name of its own.",
        }
    }
}
