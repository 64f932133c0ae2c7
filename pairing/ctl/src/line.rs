//! One JSON value a line, over a socket, with limits.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest line, with its end.
pub const LINE_SIZE_BYTES_MAX: usize = 64 * 1024;

/// Monotonic time since some start.
pub type Monotonic<'a> = &'a dyn Fn() -> Duration;

/// A line could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The other side has gone.
    #[error("the connection has ended")]
    Ended,
    /// Nothing, or too little, came in time.
    #[error("no answer in time")]
    Late,
    /// Longer than [`LINE_SIZE_BYTES_MAX`].
    #[error("a line is longer than {LINE_SIZE_BYTES_MAX} bytes")]
    Long,
    /// Not what this protocol says.
    #[error("not understood")]
    Foreign(#[from] serde_json::Error),
    /// The socket failed.
    #[error("the connection failed")]
    Socket(#[source] io::Error),
}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                Self::Ended
            }
            _ => Self::Socket(error),
        }
    }
}

/// Reads one line within `wait_max` in all, however slowly its bytes come.
///
/// # Errors
/// [`LineError`]: the connection is of no more use.
pub fn read_line<T: DeserializeOwned>(
    reader: &mut BufReader<UnixStream>,
    wait_max: Duration,
    now: Monotonic<'_>,
) -> Result<T, LineError> {
    let until = now() + wait_max;
    let mut line = Vec::new();
    loop {
        let left = until.saturating_sub(now());
        if left.is_zero() {
            return Err(LineError::Late);
        }
        reader.get_ref().set_read_timeout(Some(left))?;
        let arrived = match reader.fill_buf() {
            Ok(arrived) => arrived,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if arrived.is_empty() {
            return Err(LineError::Ended);
        }
        let room = LINE_SIZE_BYTES_MAX - line.len();
        let is_whole = arrived.iter().take(room).any(|byte| *byte == b'\n');
        let available = arrived.len().min(room);
        if is_whole {
            reader.read_until(b'\n', &mut line)?;
            return Ok(serde_json::from_slice(&line)?);
        }
        reader.by_ref().take(available as u64).read_to_end(&mut line)?;
        if line.len() >= LINE_SIZE_BYTES_MAX {
            return Err(LineError::Long);
        }
    }
}

/// Writes one line; a reader that takes nothing for `wait_max` is given up.
///
/// # Errors
/// [`LineError`]: the connection is of no more use.
pub fn write_line<T: Serialize>(
    stream: &mut UnixStream,
    line: &T,
    wait_max: Duration,
) -> Result<(), LineError> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    if bytes.len() > LINE_SIZE_BYTES_MAX {
        return Err(LineError::Long);
    }
    stream.set_write_timeout(Some(wait_max))?;
    Ok(stream.write_all(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sent: &[u8], wait_max: Duration) -> Result<u32, LineError> {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let sent = sent.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = ours.write_all(&sent);
            ours
        });
        let started = std::time::SystemTime::UNIX_EPOCH;
        let clock = move || started.elapsed().unwrap_or_default();
        let read = read_line(&mut BufReader::new(theirs), wait_max, &clock);
        let _ = writer.join();
        read
    }

    #[test]
    fn a_line_is_read_whole_or_not_at_all() {
        let wait = Duration::from_secs(30);
        assert_eq!(read(b"12\n", wait).unwrap(), 12);
        let mut padded = vec![b' '; LINE_SIZE_BYTES_MAX - 3];
        padded.extend_from_slice(b"12\n");
        assert_eq!(read(&padded, wait).unwrap(), 12);
        padded.insert(0, b' ');
        assert!(matches!(read(&padded, wait), Err(LineError::Long)));
        assert!(matches!(read(b"x\n", wait), Err(LineError::Foreign(_))));
        assert!(matches!(
            read(b"12", Duration::from_millis(20)),
            Err(LineError::Late)
        ));
    }
}
