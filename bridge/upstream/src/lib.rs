//! Upstreams: restic repositories on storage that its owner already runs.
//!
//! Place: a URL and credentials -> [`Place`] -> an [`berth_bridge::Upstream`] for each laptop's repository, which
//! [`berth_bridge::Forwarder`] fills. `Remote` makes one out of any `Storage`: S3 and WebDAV through opendal, the REST
//! server's protocol, SFTP through the system's ssh.
//! Invariant: an object appears under its name whole or not at all, and no call waits for ever.

mod credentials;
mod objects;
mod place;
mod remote;
mod rest;
mod sftp;
mod storage;
mod url;
mod web;

pub use credentials::{Credentials, CredentialsError};
pub use place::{OpenError, Place};
pub use url::{UpstreamUrl, UrlError};
