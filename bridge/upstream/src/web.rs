//! The HTTP client of all upstreams, and what its failures mean.

use std::io;
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, redirect};

use crate::{Credentials, OpenError};

const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Longest time without a byte.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A CA file is a few certificates.
const CA_SIZE_BYTES_MAX: u64 = 1024 * 1024;

/// Certificates are the system's, and those of the credentials' CA file.
pub(crate) fn client(credentials: &Credentials) -> Result<Client, OpenError> {
    // Fails where another part of the program was first, with the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_MAX)
        .read_timeout(SILENCE_MAX)
        // One that leads elsewhere would take the credentials along.
        .redirect(redirect::Policy::none());
    if let Some(path) = &credentials.ca_file {
        let certificates = std::fs::metadata(path)
            .and_then(|metadata| match metadata.len() > CA_SIZE_BYTES_MAX {
                true => Err(io::ErrorKind::FileTooLarge.into()),
                false => std::fs::read(path),
            })
            .and_then(|pem| Certificate::from_pem_bundle(&pem).map_err(io::Error::other))
            .map_err(|source| OpenError::CaFile {
                path: path.clone(),
                source,
            })?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| OpenError::Client(failure(error)))
}

/// What an answer that is none of those hoped for means.
pub(crate) fn refusal(status: StatusCode) -> io::Error {
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => io::ErrorKind::PermissionDenied,
        StatusCode::NOT_FOUND => io::ErrorKind::NotFound,
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::PAYLOAD_TOO_LARGE => io::ErrorKind::StorageFull,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => io::ErrorKind::ResourceBusy,
        status if status.is_server_error() => io::ErrorKind::ResourceBusy,
        _ => io::ErrorKind::InvalidData,
    };
    let advice = match status {
        StatusCode::UNAUTHORIZED => "; look at the credentials",
        StatusCode::FORBIDDEN => "; look at the credentials, and at what they may do there",
        _ => "",
    };
    io::Error::new(kind, format!("the server answered {status}{advice}"))
}

/// The innermost cause says the most; the URL is left out.
pub(crate) fn failure(error: reqwest::Error) -> io::Error {
    let error = error.without_url();
    let kind = if error.is_timeout() {
        io::ErrorKind::TimedOut
    } else if error.is_connect() {
        io::ErrorKind::ConnectionRefused
    } else if error.is_builder() {
        io::ErrorKind::InvalidData
    } else {
        io::ErrorKind::ConnectionReset
    };
    io::Error::new(kind, innermost(&error))
}

/// In one line of a length for people.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    one_line(&inner.to_string())
}

/// What a server says may be pages long.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .chars()
        .filter(|char| !char.is_control())
        .take(300)
        .collect()
}
