//! Asks a running hub.

use std::io::{self, BufReader};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::{Answer, LineError, Monotonic, Request, read_line, write_line};

/// Longest silence of a hub: whatever takes longer shows signs of life more often.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Longest wait for the hub to take the request.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// A request that did not get its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no hub answers at {}: is berthd running with this state? (see --state and --control)", .0.display())]
    NoHub(PathBuf),
    /// Not allowed.
    #[error("you may not talk to the hub at {}: do it as root, or as its user or group", .0.display())]
    NotAllowed(PathBuf),
    /// The socket cannot be reached for another reason.
    #[error("the control socket {}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the hub does not answer")]
    Line(#[from] LineError),
    /// What the hub said.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a hub, for one request.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the control socket at `path`.
    ///
    /// # Errors
    /// [`ClientError::NoHub`], [`ClientError::NotAllowed`], [`ClientError::Socket`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { stream }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NoHub(path.to_owned())
                }
                io::ErrorKind::PermissionDenied => ClientError::NotAllowed(path.to_owned()),
                _ => ClientError::Socket {
                    path: path.to_owned(),
                    source: error,
                },
            }),
        }
    }

    /// Asks; the answers are the iterator's items.
    ///
    /// # Errors
    /// [`ClientError::Line`].
    pub fn ask<'a, T: DeserializeOwned>(
        mut self,
        request: &Request,
        now: Monotonic<'a>,
    ) -> Result<Answers<'a, T>, ClientError> {
        match write_line(&mut self.stream, request, REQUEST_MAX) {
            // A hub that has too much to do says so and hangs up before it has read anything.
            Ok(()) | Err(LineError::Ended) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Answers {
            reader: BufReader::new(self.stream),
            now,
            ended: false,
            item: PhantomData,
        })
    }
}

/// The answer, item by item. It ends with the hub's last line, or with an error.
pub struct Answers<'a, T> {
    reader: BufReader<UnixStream>,
    now: Monotonic<'a>,
    ended: bool,
    item: PhantomData<T>,
}

impl<T: DeserializeOwned> Iterator for Answers<'_, T> {
    type Item = Result<T, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let answer = match read_line(&mut self.reader, SILENCE_MAX, self.now) {
            Ok(Answer::Item(item)) => return Some(Ok(item)),
            Ok(Answer::Done { .. }) => None,
            Ok(Answer::Error { error }) => Some(Err(ClientError::Refused(error))),
            Err(error) => Some(Err(error.into())),
        };
        self.ended = true;
        answer
    }
}
