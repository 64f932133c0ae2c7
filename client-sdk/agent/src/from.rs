//! `--from URL`: reading back from the upstream itself, on any computer, with the recovery key.
//!
//! Place: `ls`, `cat`, `restore` -> [`read`] -> [`UpstreamSource`]. No hub, no pairing and no state folder are needed.
//! Invariant: the recovery key is taken from a person or from standard input, never from the command line, and our copy of it
//! is zeroed when the repository is open.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use berth_agent::{CONNECTIONS, Leave, Seen, UpstreamSource};
use berth_restore::{Repository, RestoreError};
use berth_upstream::{Credentials, Place, UpstreamUrl, UrlError};
use crossbeam_channel::bounded;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::backup::on_signals;
use crate::reading_commands::warn_of;
use crate::reading_names::shown;

/// A recovery key has 32 digits in groups; a repository that was made by restic may have a longer password.
const KEY_SIZE_BYTES_MAX: usize = 1024;

/// Repositories that are named where none was.
const NAMED_MAX: usize = 20;

/// Where to read from.
#[derive(Debug, clap::Args)]
pub(crate) struct FromUpstream {
    /// Read from the upstream itself, without a hub: the laptop's repository there, as in UPSTREAM/NAME. The recovery key is
    /// asked for, or read from standard input.
    #[arg(long, value_name = "URL", value_parser = parsed)]
    pub(crate) from: Option<UpstreamUrl>,
    /// What the upstream wants to know, as on the hub: user and password, or keys [default: from the environment].
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) credentials: Option<PathBuf>,
}

fn parsed(text: &str) -> Result<UpstreamUrl, UrlError> {
    UpstreamUrl::parse(text, std::env::current_dir().ok().as_deref())
}

/// Runs `work` with what is in the repository at `url`.
pub(crate) fn read<T>(
    url: &UpstreamUrl,
    credentials: Option<&Path>,
    work: impl FnOnce(&Repository, &Seen) -> Result<T>,
) -> Result<T> {
    let variable = |name: &str| std::env::var(name).ok();
    let credentials = match credentials {
        // Else one that is missing would be no mistake.
        Some(path) if !path.exists() => bail!("there is no credentials file {}", shown(path)),
        Some(path) => Credentials::read(path, variable)?,
        None => Credentials::of_environment(variable),
    };
    let open = || Ok(Place::open(url.clone(), credentials.clone(), [0; 32])?.repository("")?);
    let upstreams = (0..CONNECTIONS).map(|_| open()).collect::<Result<Vec<_>>>()?;
    let key = recovery_key()?;
    let (stays, stopped) = bounded(0);
    let stays = Mutex::new(Some(stays));
    let leave = Leave::new(Arc::new(move || {
        *stays.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }));
    on_signals(&leave)?;
    let source = UpstreamSource::new(url.to_string(), upstreams, stopped);
    let seen = source.seen();
    let opened = Repository::open(source, &key);
    drop(key);
    let worked = match opened {
        Ok(repository) => {
            let worked = work(&repository, &seen);
            warn_of(&repository.left_out());
            worked
        }
        Err(error) => Err(error.into()),
    };
    worked.map_err(|error| match error.downcast::<RestoreError>() {
        Ok(RestoreError::Lost { .. }) if leave.is_asked() => {
            anyhow!("stopped. Do the same again: it goes on where it stopped.")
        }
        Ok(error @ RestoreError::Lost { .. }) => {
            anyhow!(
                "{url}: {}. {}",
                seen.lost().unwrap_or("nothing more comes"),
                error.advice()
            )
        }
        Ok(RestoreError::NoRepository { .. }) => anyhow!("{}", no_repository(url)),
        Ok(RestoreError::Unreadable { what, source }) => {
            anyhow!("can't read {what} ({source}). `restic check --read-data` names what is damaged there.")
        }
        Ok(error) => {
            let advice = error.advice();
            anyhow!("{:#}. {advice}", anyhow::Error::new(error))
        }
        Err(error) => error,
    })
}

/// What to do where an upstream was named and no laptop's repository in it.
fn no_repository(url: &UpstreamUrl) -> String {
    let say = format!("there is no repository in {url}: name the laptop's own, as UPSTREAM/NAME");
    let UpstreamUrl::Folder(folder) = url else {
        return say;
    };
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("config").is_file())
        .map(|entry| shown(Path::new(&entry.file_name())))
        .take(NAMED_MAX)
        .collect();
    names.sort_unstable();
    match names.as_slice() {
        [] => say,
        names => format!("{say}; there are {}", names.join(", ")),
    }
}

/// The key, of a person at a terminal, who sees nothing of it, or else one line of standard input.
fn recovery_key() -> Result<Zeroizing<String>> {
    let input = io::stdin();
    let hidden = if input.is_terminal() {
        write!(io::stderr(), "Recovery key: ").and_then(|()| io::stderr().flush())?;
        Some(Hidden::new().context("the terminal can't hide what is typed")?)
    } else {
        None
    };
    let key = line(|byte| Ok(rustix::io::read(&input, byte)? > 0), hidden.is_some());
    if hidden.is_some() {
        drop(hidden);
        let _ = writeln!(io::stderr());
    }
    let key = key.context("reading the recovery key")?;
    if key.is_empty() {
        bail!("no recovery key was given: type it, or give it as a line of standard input");
    }
    Ok(key)
}

/// One line without the blanks around it, a byte at a time: nothing of it stays in a buffer. `is_typed`: a person may take
/// back a character, or everything.
fn line(mut next: impl FnMut(&mut [u8; 1]) -> io::Result<bool>, is_typed: bool) -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(KEY_SIZE_BYTES_MAX));
    let mut byte = Zeroizing::new([0]);
    while next(&mut byte)? {
        match (*byte, is_typed) {
            ([b'\n'], _) | ([b'\r' | 4], true) => break,
            ([3], true) => bail!("stopped"),
            ([8 | 127], true) => drop(line.pop()),
            ([_], _) if line.len() == KEY_SIZE_BYTES_MAX => bail!("it is too long"),
            ([byte], _) => line.push(byte),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| anyhow!("it is no text"))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// A terminal that shows nothing of what is typed, until this is dropped. Ctrl-C comes as a character meanwhile: nobody is
/// left with such a terminal.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing can be done about it.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(text: &[u8], is_typed: bool) -> Result<String> {
        let mut left = text.iter();
        let next = |byte: &mut [u8; 1]| {
            let next = left.next();
            byte.copy_from_slice(&[next.copied().unwrap_or(0)]);
            Ok(next.is_some())
        };
        line(next, is_typed).map(|key| key.to_string())
    }

    #[test]
    fn one_line_is_the_key_and_what_a_person_takes_back_is_not_in_it() {
        assert_eq!(read_line(b" abcd-1234 \r\nmore", false).unwrap(), "abcd-1234");
        assert_eq!(read_line(b"abcd", false).unwrap(), "abcd");
        assert_eq!(read_line(b"abX\x7fcd\r", true).unwrap(), "abcd");
        assert_eq!(read_line(b"\x7f\x08a\x04b", true).unwrap(), "a");
        assert!(read_line(b"ab\x03", true).is_err());
        assert!(read_line(&[b'a'; 1025], false).is_err());
        assert!(read_line(b"\xff\n", false).is_err());
    }

    #[test]
    fn a_folder_of_several_repositories_tells_their_names() {
        let place = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            fs::create_dir(place.path().join(name)).unwrap();
            fs::write(place.path().join(name).join("config"), "").unwrap();
        }
        fs::create_dir(place.path().join("other")).unwrap();
        let said = no_repository(&UpstreamUrl::Folder(place.path().to_owned()));
        assert!(said.ends_with("; there are one, two"), "{said}");
    }
}
