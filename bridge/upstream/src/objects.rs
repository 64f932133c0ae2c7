//! S3 and WebDAV, through opendal.

use std::io;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use opendal::services::{S3, Webdav};
use opendal::{Buffer, ErrorKind, HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::{Client, StatusCode};

use crate::Credentials;
use crate::storage::{CONFIG, DATA, Each, Found, LOCKS, Storage, Wanted, too_large};
use crate::web::{one_line, refusal};

/// A repository on S3: writing is one step.
pub(crate) struct Bucket(Operator);

/// A repository on WebDAV: a file gets its name when it is whole.
pub(crate) struct Dav {
    operator: Operator,
    /// Ends the names of files that are not whole yet.
    suffix: String,
}

impl Bucket {
    pub(crate) fn open(
        (endpoint, bucket, region): (&str, &str, &str),
        root: &str,
        credentials: &Credentials,
        client: &Client,
    ) -> io::Result<Self> {
        let mut builder = S3::default()
            .endpoint(endpoint)
            .bucket(bucket)
            .region(region)
            .root(root)
            // What a hub does is in its settings, not in files of whoever starts it.
            .disable_config_load()
            .disable_ec2_metadata();
        if let Some(key) = &credentials.access_key_id {
            builder = builder.access_key_id(key);
        }
        if let Some(key) = &credentials.secret_access_key {
            builder = builder.secret_access_key(key);
        }
        if let Some(token) = &credentials.session_token {
            builder = builder.session_token(token);
        }
        Ok(Self(through(Operator::new(builder).map_err(failure)?, client)))
    }
}

impl Dav {
    pub(crate) fn open(
        endpoint: &str,
        root: &str,
        suffix: String,
        credentials: &Credentials,
        client: &Client,
    ) -> io::Result<Self> {
        let mut builder = Webdav::default().endpoint(endpoint).root(root);
        if let Some(user) = &credentials.user {
            builder = builder.username(user);
        }
        if let Some(password) = &credentials.password {
            builder = builder.password(password);
        }
        Ok(Self {
            operator: through(Operator::new(builder).map_err(failure)?, client),
            suffix,
        })
    }
}

fn through(operator: Operator, client: &Client) -> Operator {
    let transport = HttpTransporter::new(ReqwestTransport::new(client.clone()));
    operator.with_context(OperationContext::new().with_http_transport(transport))
}

impl Storage for Bucket {
    const IS_READ_BACK: bool = false;

    async fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    async fn list(&self, folder: &'static str, each: Each<'_>) -> io::Result<()> {
        list(&self.0, folder, each).await
    }

    async fn read(&self, path: &str, wanted: &Wanted) -> io::Result<Option<Bytes>> {
        read(&self.0, path, wanted).await
    }

    /// A `config` is not replaced, where the storage knows `If-None-Match`: two hubs may begin at the same moment. Every
    /// other name says what its bytes are.
    async fn write(&self, path: &str, bytes: Bytes) -> io::Result<()> {
        let write = self.0.write_with(path, Buffer::from(bytes));
        match write.if_not_exists(path == CONFIG).await {
            Err(error) if error.kind() != ErrorKind::ConditionNotMatch => Err(failure(error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.0.delete(path).await.map_err(failure)
    }
}

impl Storage for Dav {
    const IS_READ_BACK: bool = true;

    async fn prepare(&self) -> io::Result<()> {
        for folder in [DATA, "index", "keys", LOCKS, "snapshots"] {
            let made = self.operator.create_dir(&format!("{folder}/")).await;
            made.map_err(failure)?;
        }
        Ok(())
    }

    async fn list(&self, folder: &'static str, each: Each<'_>) -> io::Result<()> {
        list(&self.operator, folder, each).await
    }

    async fn read(&self, path: &str, wanted: &Wanted) -> io::Result<Option<Bytes>> {
        read(&self.operator, path, wanted).await
    }

    async fn write(&self, path: &str, bytes: Bytes) -> io::Result<()> {
        let fresh = format!("{path}{}", self.suffix);
        let length = bytes.len() as u64;
        self.operator
            .write(&fresh, Buffer::from(bytes))
            .await
            .map_err(failure)?;
        // A server that took a cut body for a whole one must not give it the name.
        let written_bytes = self
            .operator
            .stat(&fresh)
            .await
            .map_err(failure)?
            .content_length();
        if written_bytes != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.operator.rename(&fresh, path).await.map_err(failure)
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.operator.delete(path).await.map_err(failure)
    }
}

async fn list(operator: &Operator, folder: &'static str, each: Each<'_>) -> io::Result<()> {
    let lister = operator
        .lister_with(&format!("{folder}/"))
        .recursive(folder == DATA)
        .await;
    let mut lister = match lister {
        Ok(lister) => lister,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failure(error)),
    };
    loop {
        match lister.try_next().await {
            Ok(Some(entry)) if entry.metadata().is_file() => each(Found {
                name: entry.name().to_owned(),
                size_bytes: entry.metadata().content_length(),
                changed_at_ns: entry
                    .metadata()
                    .last_modified()
                    .and_then(|at| i64::try_from(at.into_inner().as_nanosecond()).ok()),
            }),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failure(error)),
        }
    }
}

async fn read(operator: &Operator, path: &str, wanted: &Wanted) -> io::Result<Option<Bytes>> {
    let read = match wanted {
        Wanted::Whole { size_bytes_max } => match operator.stat(path).await {
            Ok(found) if found.content_length() > *size_bytes_max => return Err(too_large()),
            Ok(_) => take(operator, path, wanted).await.map(Some),
            Err(error) => Err(error),
        },
        Wanted::Part(range) => match take_part(operator, path, range).await {
            // The server passes over what was asked for: it is taken out of everything.
            Ok(None) => take(operator, path, wanted).await.map(Some),
            taken => taken,
        },
    };
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // The file ends before.
        Err(error) if status(&error) == Some(StatusCode::RANGE_NOT_SATISFIABLE) => Ok(Some(Bytes::new())),
        Err(error) => Err(failure(error)),
        Ok(read) => Ok(read),
    }
}

/// Reads a file from its beginning, as far as it is needed.
async fn take(operator: &Operator, path: &str, wanted: &Wanted) -> opendal::Result<Bytes> {
    let mut stream = operator.reader(path).await?.into_stream(..).await?;
    let mut pieces = wanted.from(0);
    while pieces.missing_bytes() > 0
        && let Some(buffer) = stream.try_next().await?
    {
        buffer.for_each(|piece| pieces.add(&piece));
    }
    Ok(pieces.end())
}

/// Asks for a part alone. `None`: more came than that.
async fn take_part(operator: &Operator, path: &str, range: &Range<u64>) -> opendal::Result<Option<Bytes>> {
    let mut stream = operator.reader(path).await?.into_stream(range.clone()).await?;
    let file_size_bytes = stream.metadata().await?.content_length();
    let size_bytes = range.end.min(file_size_bytes).saturating_sub(range.start);
    let mut bytes = BytesMut::new();
    // opendal takes a file that ends before the range for one that was cut.
    let ends_before = range.end > file_size_bytes;
    while !(ends_before && bytes.len() as u64 == size_bytes)
        && let Some(buffer) = stream.try_next().await?
    {
        if (bytes.len() + buffer.len()) as u64 > size_bytes {
            return Ok(None);
        }
        buffer.for_each(|piece| bytes.extend_from_slice(&piece));
    }
    Ok(Some(bytes.freeze()))
}

fn failure(error: opendal::Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        ErrorKind::RateLimited => io::ErrorKind::ResourceBusy,
        _ if error.is_temporary() => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::Other,
    };
    let said = match (error.message(), status(&error)) {
        ("", Some(status)) => return refusal(status),
        ("", None) => error.kind().to_string(),
        (message, _) => one_line(message),
    };
    let advice = match kind {
        io::ErrorKind::PermissionDenied => "; look at the credentials",
        _ => "",
    };
    io::Error::new(kind, format!("{said}{advice}"))
}

/// The status of the answer: it stands in the words for people alone.
fn status(error: &opendal::Error) -> Option<StatusCode> {
    let words = error.to_string();
    let (_, rest) = words.split_once("status: ")?;
    rest.get(..3)?.parse().ok()
}
