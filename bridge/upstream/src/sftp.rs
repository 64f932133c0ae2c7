//! SFTP, through the system's `ssh`: its keys, its known hosts, its settings.
//!
//! A file gets its name when it is whole and the server has synced it, where the server can (`fsync@openssh.com`). When
//! its folder is synced is the server's own business: so every file is read back.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use openssh_sftp_client::error::{Error, SftpErrorKind};
use openssh_sftp_client::file::TokioCompatFile;
use openssh_sftp_client::fs::DirEntry;
use openssh_sftp_client::{Sftp as Client, SftpOptions};
use tokio::io::{AsyncBufReadExt, AsyncSeekExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::Credentials;
use crate::storage::{DATA, Each, Found, LOCKS, Storage, Wanted};
use crate::web::one_line;

/// Folders that are listed at once: most of the time of a listing is waiting.
const LISTINGS_AT_ONCE: usize = 16;

/// Most that is asked for at once.
const READ_SIZE_BYTES: u32 = 255 * 1024;

/// A repository in a folder of another computer. The connection is made with the first call, and anew after a failure.
pub(crate) struct Sftp {
    arguments: Vec<OsString>,
    root: PathBuf,
    /// Ends the names of files that are not whole yet.
    suffix: String,
    connection: tokio::sync::Mutex<Option<Connection>>,
}

struct Connection {
    client: Client,
    /// Ends when it is dropped.
    _ssh: Child,
    /// The last line that ssh said.
    said: Arc<Mutex<String>>,
}

impl Sftp {
    pub(crate) fn new(
        (host, port): (&str, Option<u16>),
        root: PathBuf,
        suffix: String,
        credentials: &Credentials,
    ) -> Self {
        let mut arguments: Vec<OsString> = [
            // It must never ask anybody.
            "-oBatchMode=yes",
            "-oConnectTimeout=30",
            "-oServerAliveInterval=15",
            "-oServerAliveCountMax=4",
            "-oClearAllForwardings=yes",
        ]
        .map(OsString::from)
        .into();
        if let Some(port) = port {
            arguments.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(path) = &credentials.identity_file {
            arguments.extend(["-oIdentitiesOnly=yes".into(), "-i".into(), path.into()]);
        }
        if let Some(path) = &credentials.known_hosts_file {
            let mut option = OsString::from("-oUserKnownHostsFile=\"");
            option.push(path);
            option.push("\"");
            arguments.push(option);
        }
        arguments.extend(["-s", "--", host, "sftp"].map(OsString::from));
        Self {
            arguments,
            root,
            suffix,
            connection: tokio::sync::Mutex::new(None),
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let mut ssh = Command::new("ssh")
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("ssh can't be run ({error}): install it"))
            })?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let said = Arc::new(Mutex::new(String::new()));
        let last = Arc::clone(&said);
        let listening = tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = one_line(&line);
            }
        });
        match Client::new(stdin, stdout, SftpOptions::new()).await {
            Ok(client) => Ok(Connection {
                client,
                _ssh: ssh,
                said,
            }),
            Err(error) => {
                // What ssh has to say comes before its end.
                let _ = listening.await;
                Err(failure(&error, &said))
            }
        }
    }

    /// Does something over the connection; one that failed is not used again.
    async fn with<T>(&self, act: impl AsyncFnOnce(&Client) -> Result<T, Error>) -> io::Result<T> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        match act(&connection.client).await {
            Ok(done) => {
                *slot = Some(connection);
                Ok(done)
            }
            Err(error) => {
                let failed = failure(&error, &connection.said);
                // The server's own answer: the connection is fine.
                if matches!(error, Error::SftpError(..)) {
                    *slot = Some(connection);
                }
                Err(failed)
            }
        }
    }
}

impl Storage for Sftp {
    const IS_READ_BACK: bool = true;

    async fn prepare(&self) -> io::Result<()> {
        self.with(async |client| {
            let folders = ["", DATA, "index", "keys", LOCKS, "snapshots"].map(PathBuf::from);
            let below = (0..=255).map(|first: u8| PathBuf::from(format!("{DATA}/{first:02x}")));
            for folder in folders.into_iter().chain(below) {
                make_folder(client, &self.root.join(folder)).await?;
            }
            Ok(())
        })
        .await
    }

    async fn list(&self, folder: &'static str, each: Each<'_>) -> io::Result<()> {
        self.with(async |client| {
            let top = self.root.join(folder);
            let entries = entries(client, top.clone()).await?;
            if folder != DATA {
                entries.iter().filter_map(found).for_each(each);
                return Ok(());
            }
            let folders = entries
                .iter()
                .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_dir()));
            let is_hex = |name: &str| name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            let names = folders.filter_map(|entry| entry.filename().to_str().filter(|name| is_hex(name)));
            let paths: Vec<PathBuf> = names.map(|name| top.join(name)).collect();
            let mut listings = stream::iter(paths)
                .map(|path| self::entries(client, path))
                .buffer_unordered(LISTINGS_AT_ONCE);
            while let Some(entries) = listings.try_next().await? {
                entries.iter().filter_map(found).for_each(&mut *each);
            }
            Ok(())
        })
        .await
    }

    async fn read(&self, path: &str, wanted: &Wanted) -> io::Result<Option<Bytes>> {
        self.with(async |client| {
            let mut file = match client.open(self.root.join(path)).await {
                Ok(file) => file,
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            let offset = match wanted {
                Wanted::Whole { .. } => 0,
                Wanted::Part(range) => range.start,
            };
            file.seek(io::SeekFrom::Start(offset)).await?;
            let mut pieces = wanted.from(offset);
            // What the server says of its length is not believed.
            loop {
                let asked = u64::from(READ_SIZE_BYTES).min(pieces.missing_bytes());
                let asked = u32::try_from(asked).unwrap_or(READ_SIZE_BYTES);
                // None where nothing is asked, or the file ends.
                let Some(piece) = file.read(asked, BytesMut::new()).await? else {
                    break;
                };
                pieces.add(&piece);
            }
            file.close().await?;
            Ok(Some(pieces.end()))
        })
        .await
    }

    async fn write(&self, path: &str, bytes: Bytes) -> io::Result<()> {
        self.with(async |client| {
            let path = self.root.join(path);
            let mut fresh = path.clone().into_os_string();
            fresh.push(&self.suffix);
            let mut file = Box::pin(TokioCompatFile::new(client.create(&fresh).await?));
            file.write_all(&bytes).await?;
            file.flush().await?;
            if client.support_fsync() {
                file.as_mut().as_mut_file().sync_all().await?;
            }
            file.shutdown().await?;
            let mut fs = client.fs();
            match fs.rename(&fresh, &path).await {
                // A server without posix-rename does not replace: what is there was first.
                Err(error) if fs.metadata(&path).await.is_err() => Err(error),
                Err(_) => fs.remove_file(&fresh).await,
                Ok(()) => Ok(()),
            }
        })
        .await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.with(
            async |client| match client.fs().remove_file(self.root.join(path)).await {
                Err(error) if !is_missing(&error) => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
        )
        .await
    }
}

async fn make_folder(client: &Client, path: &std::path::Path) -> Result<(), Error> {
    match client.fs().create_dir(path).await {
        // Version 3 of the protocol has no word for "is there".
        Err(error) if client.fs().metadata(path).await.is_err() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Nothing where there is no such folder.
async fn entries(client: &Client, path: PathBuf) -> Result<Vec<DirEntry>, Error> {
    match client.fs().open_dir(path).await {
        Ok(folder) => Box::pin(folder.read_dir()).try_collect().await,
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn found(entry: &DirEntry) -> Option<Found> {
    let metadata = entry.metadata();
    let since = metadata
        .modified()
        .and_then(|at| at.as_system_time().duration_since(std::time::UNIX_EPOCH).ok());
    let is_file = metadata.file_type().is_some_and(|kind| kind.is_file());
    is_file.then(|| {
        Some(Found {
            name: entry.filename().to_str()?.to_owned(),
            size_bytes: metadata.len()?,
            changed_at_ns: since.and_then(|since| i64::try_from(since.as_nanos()).ok()),
        })
    })?
}

const fn is_missing(error: &Error) -> bool {
    matches!(error, Error::SftpError(SftpErrorKind::NoSuchFile, _))
}

fn failure(error: &Error, said: &Mutex<String>) -> io::Error {
    let kind = match error {
        Error::SftpError(SftpErrorKind::NoSuchFile, _) => io::ErrorKind::NotFound,
        Error::SftpError(SftpErrorKind::PermDenied, _) => io::ErrorKind::PermissionDenied,
        Error::SftpError(..) => io::ErrorKind::Other,
        _ => io::ErrorKind::ConnectionReset,
    };
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let why = match (error, said.as_str()) {
        (Error::SftpError(..), _) | (_, "") => one_line(&error.to_string()),
        (_, said) => format!("ssh: {said}"),
    };
    io::Error::new(kind, why)
}
