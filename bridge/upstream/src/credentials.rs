//! What proves to an upstream who the hub is.
//!
//! Invariant: no secret is shown by `Debug`, and every one is zeroed when it is dropped.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A credentials file is a few lines.
const FILE_SIZE_BYTES_MAX: u64 = 64 * 1024;

/// All that a file of credentials may hold; TOML, with keys of these names.
#[derive(Clone, Deserialize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// `rest:`, `webdav:`.
    #[zeroize(skip)]
    pub user: Option<String>,
    /// `rest:`, `webdav:`.
    pub password: Option<String>,
    /// `s3:`.
    #[zeroize(skip)]
    pub access_key_id: Option<String>,
    /// `s3:`.
    pub secret_access_key: Option<String>,
    /// `s3:`, where the other two are lent for a time.
    pub session_token: Option<String>,
    /// `sftp:`: file of ssh's private key; else ssh chooses.
    #[zeroize(skip)]
    pub identity_file: Option<PathBuf>,
    /// `sftp:`: file of the hosts' keys that are believed; else ssh's own. A user without a home has none.
    #[zeroize(skip)]
    pub known_hosts_file: Option<PathBuf>,
    /// `https:`: file of certificates, PEM, that are believed beside the system's.
    #[zeroize(skip)]
    pub ca_file: Option<PathBuf>,
}

/// A credentials file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It can't be read.
    #[error("the credentials file {path} can't be read ({source}): let whoever runs this read it")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("the credentials file {path} can be read by others: chmod 600 {path}")]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// It is not what it should be. What stands in it is not told.
    #[error("the credentials file {path} is no TOML with keys of those that there are (line {line})")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

impl Credentials {
    /// Reads a file; where there is none, the environment ([`Credentials::of_environment`]).
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn read(path: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialsError> {
        let unreadable = |source| CredentialsError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::of_environment(variable));
            }
            Err(error) => return Err(unreadable(error)),
        };
        if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
            return Err(CredentialsError::Open {
                path: path.to_owned(),
            });
        }
        let mut text = String::new();
        let read = file.take(FILE_SIZE_BYTES_MAX).read_to_string(&mut text);
        let parsed = read.map_err(unreadable).and_then(|_| {
            toml::from_str(&text).map_err(|error| CredentialsError::Malformed {
                path: path.to_owned(),
                line: line_of(&text, &error),
            })
        });
        text.zeroize();
        parsed
    }

    /// Those of the environment, through `variable`: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// and restic's `RESTIC_REST_USERNAME` and `RESTIC_REST_PASSWORD`.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            user: variable("RESTIC_REST_USERNAME"),
            password: variable("RESTIC_REST_PASSWORD"),
            access_key_id: variable("AWS_ACCESS_KEY_ID"),
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY"),
            session_token: variable("AWS_SESSION_TOKEN"),
            identity_file: None,
            known_hosts_file: None,
            ca_file: None,
        }
    }
}

fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
    1 + before.matches('\n').count()
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("credentials.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (place, path)
    }

    #[test]
    fn a_file_goes_before_the_environment() {
        let variable = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "outside".to_owned());
        let (_place, path) = file(
            "access_key_id = \"inside\"\nsecret_access_key = \"hunter2\"\n",
            0o600,
        );
        let read = Credentials::read(&path, variable).unwrap();
        assert_eq!(read.access_key_id.as_deref(), Some("inside"));
        assert_eq!(read.secret_access_key.as_deref(), Some("hunter2"));
        assert!(!format!("{read:?}").contains("hunter2"));
        let none = Credentials::read(Path::new("/nowhere/at/all"), variable).unwrap();
        assert_eq!(none.access_key_id.as_deref(), Some("outside"));
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_malformed_is_refused_without_its_words() {
        for (text, mode) in [
            ("password = \"hunter2\"\n", 0o640),
            ("password = \"hunter2\n", 0o600),
            ("user = \"me\"\npasword = \"hunter2\"\n", 0o600),
            ("password = hunter2\n", 0o600),
        ] {
            let (_place, path) = file(text, mode);
            let error = Credentials::read(&path, |_| None).unwrap_err().to_string();
            assert!(
                !error.contains("hunter2") && error.lines().count() == 1,
                "{error}"
            );
        }
    }
}
