//! How an upstream is named.
//!
//! | kind | written as | as restic writes it |
//! |---|---|---|
//! | folder | `/srv/backup`, `file:///srv/my%20disk` | `/srv/backup` |
//! | S3 | `s3:https://HOST[:PORT]/BUCKET[/PREFIX][?region=REGION]`; without `https://` too | the same, without the region |
//! | SFTP | `sftp:[USER@]HOST:/PATH`, `sftp://[USER@]HOST[:PORT]/PATH` | the same |
//! | REST server | `rest:https://HOST[:PORT][/PATH]` | the same |
//! | WebDAV | `webdav:https://HOST[:PORT][/PATH]` | - |
//! | none of these: a server that calls the hub | `pull:SERVER` | - |
//!
//! Laptops' repositories lie below it, each in a folder of its own. Secrets have no place in it: user names may stand in
//! the URL of SFTP, as they are no secret; whatever else proves who the hub is comes from [`crate::Credentials`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// Longest URL in bytes.
const URL_SIZE_BYTES_MAX: usize = 4096;

/// Where S3 signs for when nothing is said; what most servers that are not Amazon's take.
const REGION_DEFAULT: &str = "us-east-1";

/// Where repositories lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamUrl {
    /// A folder of this computer; absolute.
    Folder(PathBuf),
    /// A bucket of S3, or of what speaks like it.
    S3 {
        /// With scheme, host and port.
        endpoint: String,
        /// The bucket.
        bucket: String,
        /// Below the bucket; no slash at either end.
        prefix: String,
        /// What requests are signed for.
        region: String,
    },
    /// A folder of another computer, through ssh.
    Sftp {
        /// `USER@HOST` or `HOST`, as ssh takes it.
        host: String,
        /// The port, if it is not ssh's own.
        port: Option<u16>,
        /// The folder there, absolute.
        path: String,
    },
    /// A REST server, as restic's own; ends with a slash.
    Rest(Url),
    /// A folder of a WebDAV server; ends with a slash.
    WebDav(Url),
    /// Wherever a server of this name keeps what it pulls from the hub: nothing is sent there.
    Pull(String),
}

/// A text that is no [`UpstreamUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing, or more than 4,096 bytes.
    #[error("the upstream is empty or too long: give a folder or a URL like s3:https://HOST/BUCKET")]
    Size,
    /// A kind that there is not.
    #[error(
        "there are no upstreams of the kind {0:?}: give a folder, or file:, s3:, sftp:, rest:, webdav: or pull:"
    )]
    Kind(String),
    /// Something of it is missing or malformed.
    #[error("this is no {kind} URL: write it as {example}")]
    Shape {
        /// Of what.
        kind: &'static str,
        /// One that is right.
        example: &'static str,
    },
    /// A password stands in it.
    #[error("the URL holds a password: take it out and put it into the credentials file")]
    Secret,
}

const S3: UrlError = UrlError::Shape {
    kind: "s3",
    example: "s3:https://s3.example.org/bucket/folder",
};
const SFTP: UrlError = UrlError::Shape {
    kind: "sftp",
    example: "sftp:user@host:/srv/backup",
};
const REST: UrlError = UrlError::Shape {
    kind: "rest",
    example: "rest:https://backup.example.org:8000/",
};
const WEBDAV: UrlError = UrlError::Shape {
    kind: "webdav",
    example: "webdav:https://dav.example.org/backup",
};
const PULL: UrlError = UrlError::Shape {
    kind: "pull",
    example: "pull:nas, with a name of `berthctl server list`",
};
const FOLDER: UrlError = UrlError::Shape {
    kind: "file",
    example: "file:///srv/backup",
};

impl UpstreamUrl {
    /// Reads one; a relative folder is one below `here`.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(text: &str, here: Option<&Path>) -> Result<Self, UrlError> {
        if text.is_empty() || text.len() > URL_SIZE_BYTES_MAX || text.contains('\0') {
            return Err(UrlError::Size);
        }
        match text.split_once(':') {
            Some(("file", rest)) => file(rest),
            Some(("s3", rest)) => s3(rest),
            Some(("sftp", rest)) => sftp(rest),
            Some(("rest", rest)) => Ok(Self::Rest(web(rest, REST)?)),
            Some(("webdav", rest)) => Ok(Self::WebDav(web(rest, WEBDAV)?)),
            Some(("pull", server)) if is_word(server) => Ok(Self::Pull(server.to_owned())),
            Some(("pull", _)) => Err(PULL),
            Some((kind, _)) if !kind.contains('/') && here.is_none_or(|here| !here.join(text).exists()) => {
                Err(UrlError::Kind(kind.chars().take(40).collect()))
            }
            Some(_) | None => match here {
                Some(here) => Ok(Self::Folder(here.join(text))),
                None if text.starts_with('/') => Ok(Self::Folder(PathBuf::from(text))),
                None => Err(FOLDER),
            },
        }
    }
}

impl FromStr for UpstreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text, None)
    }
}

impl fmt::Display for UpstreamUrl {
    /// As [`UpstreamUrl::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3 {
                endpoint,
                bucket,
                prefix,
                region,
            } => {
                write!(f, "s3:{endpoint}/{bucket}")?;
                if !prefix.is_empty() {
                    write!(f, "/{prefix}")?;
                }
                if region == REGION_DEFAULT {
                    return Ok(());
                }
                write!(f, "?region={region}")
            }
            Self::Sftp { host, port, path } => match port {
                Some(port) => write!(f, "sftp://{host}:{port}{path}"),
                None => write!(f, "sftp:{host}:{path}"),
            },
            Self::Rest(url) => write!(f, "rest:{url}"),
            Self::WebDav(url) => write!(f, "webdav:{url}"),
            Self::Pull(server) => write!(f, "pull:{server}"),
        }
    }
}

fn file(rest: &str) -> Result<UpstreamUrl, UrlError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let url = Url::parse(&format!("file://{path}")).map_err(|_| FOLDER)?;
    let is_escape =
        |after: &str| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let is_plain = path.starts_with('/')
        && url.query().is_none()
        && url.fragment().is_none()
        && path.split('%').skip(1).all(is_escape);
    match url.to_file_path() {
        Ok(path) if is_plain => Ok(UpstreamUrl::Folder(path)),
        Ok(_) | Err(()) => Err(FOLDER),
    }
}

fn s3(rest: &str) -> Result<UpstreamUrl, UrlError> {
    let rest = rest.trim_start_matches('/');
    let whole = if rest.contains("://") {
        rest.to_owned()
    } else {
        format!("https://{rest}")
    };
    let mut url = web_url(&whole, S3)?;
    let region = match url.query_pairs().collect::<Vec<_>>().as_slice() {
        [] => REGION_DEFAULT.to_owned(),
        [(key, region)] if key == "region" && is_word(region) => region.clone().into_owned(),
        _ => return Err(S3),
    };
    let path = url.path().trim_matches('/').to_owned();
    let (bucket, prefix) = path.split_once('/').unwrap_or((&path, ""));
    if !is_word(bucket) || !is_plain_path(prefix) {
        return Err(S3);
    }
    url.set_query(None);
    url.set_path("");
    Ok(UpstreamUrl::S3 {
        endpoint: url.as_str().trim_end_matches('/').to_owned(),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        region,
    })
}

fn sftp(rest: &str) -> Result<UpstreamUrl, UrlError> {
    let (host, port, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').ok_or(SFTP)?);
            match host.rsplit_once(':') {
                Some((host, port)) => (host, Some(port.parse().map_err(|_| SFTP)?), path),
                None => (host, None, path),
            }
        }
        None => {
            let (host, path) = rest.split_once(':').ok_or(SFTP)?;
            (host, None, path)
        }
    };
    let (user, name) = host.split_once('@').unwrap_or(("user", host));
    if user.contains(':') {
        return Err(UrlError::Secret);
    }
    // ssh would take what begins with a dash for an option.
    let is_safe = |text: &str| {
        let is_good = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        !text.is_empty() && !text.starts_with('-') && text.chars().all(is_good)
    };
    let path = path.trim_end_matches('/');
    if !is_safe(user) || !is_safe(name) || !path.starts_with('/') || path.contains("//") {
        return Err(SFTP);
    }
    Ok(UpstreamUrl::Sftp {
        host: host.to_owned(),
        port,
        path: path.to_owned(),
    })
}

fn web(rest: &str, error: UrlError) -> Result<Url, UrlError> {
    let mut url = web_url(rest, error.clone())?;
    if url.query().is_some() {
        return Err(error);
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn web_url(text: &str, error: UrlError) -> Result<Url, UrlError> {
    let url = Url::parse(text).map_err(|_| error.clone())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Secret);
    }
    let is_web = matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.fragment().is_none();
    if is_web { Ok(url) } else { Err(error) }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "._-".contains(char))
}

/// No empty, `.` or `..` part; nothing at all is fine.
fn is_plain_path(path: &str) -> bool {
    path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_written_the_same() {
        for (text, same) in [
            ("/srv/backup", "/srv/backup"),
            ("/srv/a:b", "/srv/a:b"),
            ("file:///srv/my%20disk", "/srv/my disk"),
            ("file:/srv", "/srv"),
            ("pull:nas", "pull:nas"),
            (
                "s3:https://s3.example.org/bucket",
                "s3:https://s3.example.org/bucket",
            ),
            (
                "s3:s3.example.org/bucket/a/b/",
                "s3:https://s3.example.org/bucket/a/b",
            ),
            (
                "s3:http://127.0.0.1:9000/b?region=eu-west-1",
                "s3:http://127.0.0.1:9000/b?region=eu-west-1",
            ),
            (
                "s3:http://[::1]:9000/b?region=us-east-1",
                "s3:http://[::1]:9000/b",
            ),
            ("sftp:me@host:/srv/x/", "sftp:me@host:/srv/x"),
            ("sftp:host:/srv/x", "sftp:host:/srv/x"),
            ("sftp://me@host:2222/srv/x", "sftp://me@host:2222/srv/x"),
            ("sftp://host/srv", "sftp:host:/srv"),
            ("rest:https://host:8000", "rest:https://host:8000/"),
            ("rest:http://127.0.0.1:8000/me/", "rest:http://127.0.0.1:8000/me/"),
            (
                "webdav:https://dav.example.org/a%20b",
                "webdav:https://dav.example.org/a%20b/",
            ),
        ] {
            let url: UpstreamUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), same);
            if !same.contains(' ') {
                assert_eq!(same.parse(), Ok(url), "{same}");
            }
        }
        let here = Path::new("/home/me");
        assert_eq!(
            UpstreamUrl::parse("up", Some(here)),
            Ok(UpstreamUrl::Folder(PathBuf::from("/home/me/up")))
        );
    }

    #[test]
    fn what_is_no_url_is_refused_in_one_line_and_without_its_secrets() {
        let long = "/".repeat(5_000);
        for text in [
            "",
            long.as_str(),
            "relative",
            "https://host",
            "ftp:host",
            "file://host/x",
            "file:relative",
            "file:///%zz%",
            "s3:bucket",
            "s3:https://host",
            "s3:https://host/b/../",
            "s3:https://host/b?region=",
            "s3:https://host/b?zone=x",
            "s3:ftp://host/b",
            "s3:https://host/b#x",
            "sftp:host",
            "sftp:host:relative",
            "sftp:-oProxyCommand=x:/y",
            "sftp:me@-x:/y",
            "sftp:me@host;ls:/y",
            "sftp://host:99999/x",
            "sftp://host",
            "sftp:me:hunter2@host:/x",
            "rest:host",
            "rest:https://me:hunter2@host/",
            "rest:https://host/?a=b",
            "webdav:dav://x",
            "webdav:https://me:hunter2@x/",
            "s3:https://me:hunter2@host/b",
            "sftp://me:hunter2@host/x",
            "/a\0b",
        ] {
            let error = text.parse::<UpstreamUrl>().unwrap_err().to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(!error.contains("hunter2") && error.len() < 200, "{error}");
        }
    }
}
