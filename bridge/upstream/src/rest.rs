//! The REST server of restic (restic.readthedocs.io, "REST Backend"), version 2 of its protocol and version 1.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LAST_MODIFIED, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::Credentials;
use crate::storage::{Each, Found, LOCKS, Pieces, Storage, Wanted, too_large};
use crate::web::{failure, refusal};

const VERSION_2: &str = "application/vnd.x.restic.rest.v2";

/// A listing in version 2 has about 95 bytes a file: this is one of 700,000.
const LISTING_SIZE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A repository at a REST server.
pub(crate) struct Rest {
    client: Client,
    /// Ends with a slash.
    root: Url,
    credentials: Credentials,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

impl Rest {
    pub(crate) const fn new(client: Client, root: Url, credentials: Credentials) -> Self {
        Self {
            client,
            root,
            credentials,
        }
    }

    /// Paths are restic's own; the server has its packs in one folder.
    fn request(&self, method: Method, path: &str) -> io::Result<RequestBuilder> {
        let path = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["data", _, name] => format!("data/{name}"),
            _ => path.to_owned(),
        };
        let url = self.root.join(&path).map_err(io::Error::other)?;
        let request = self.client.request(method, url);
        Ok(match (&self.credentials.user, &self.credentials.password) {
            (None, None) => request,
            (user, password) => request.basic_auth(user.as_deref().unwrap_or_default(), password.as_ref()),
        })
    }

    /// Length and time of a file, if it is there.
    async fn head(&self, path: &str) -> io::Result<Option<(Option<u64>, Option<i64>)>> {
        let answer = self.request(Method::HEAD, path)?.send().await.map_err(failure)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = ok(answer)?;
        let header = |name| answer.headers().get(name)?.to_str().ok();
        let length = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
        Ok(Some((length, header(LAST_MODIFIED).and_then(time_ns))))
    }

    async fn found(&self, folder: &str, name: String, size: Option<u64>) -> io::Result<Option<Found>> {
        let known = match size {
            // Only of locks it matters how old they are.
            Some(size) if folder != LOCKS => Some((Some(size), None)),
            _ => self.head(&format!("{folder}/{name}")).await?,
        };
        Ok(known.map(|(length, changed_at_ns)| Found {
            name,
            size_bytes: size.or(length).unwrap_or(0),
            changed_at_ns,
        }))
    }
}

impl Storage for Rest {
    const IS_READ_BACK: bool = false;

    async fn prepare(&self) -> io::Result<()> {
        if self.head("config").await?.is_some() {
            return Ok(());
        }
        let request = self.request(Method::POST, "")?.query(&[("create", "true")]);
        ok(request.send().await.map_err(failure)?).map(drop)
    }

    async fn list(&self, folder: &'static str, each: Each<'_>) -> io::Result<()> {
        let request = self.request(Method::GET, &format!("{folder}/"))?;
        // Alone, as restic says it: rclone refuses a list. A server of version 1 does not look at it.
        let answer = request.header(ACCEPT, VERSION_2).send().await;
        let answer = answer.map_err(failure)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let answer = ok(answer)?;
        let is_version_2 = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind == VERSION_2);
        let whole = Wanted::Whole {
            size_bytes_max: LISTING_SIZE_BYTES_MAX,
        };
        let body = body(answer, whole.from(0)).await?;
        if body.len() as u64 > LISTING_SIZE_BYTES_MAX {
            return Err(too_large());
        }
        let listed: Vec<(String, Option<u64>)> = if is_version_2 {
            let listed: Vec<Listed> = serde_json::from_slice(&body)?;
            listed.into_iter().map(|one| (one.name, Some(one.size))).collect()
        } else {
            let names: Vec<String> = serde_json::from_slice(&body)?;
            names.into_iter().map(|name| (name, None)).collect()
        };
        for (name, size) in listed {
            if !is_name(&name) {
                continue;
            }
            if let Some(found) = self.found(folder, name, size).await? {
                each(found);
            }
        }
        Ok(())
    }

    async fn read(&self, path: &str, wanted: &Wanted) -> io::Result<Option<Bytes>> {
        let mut request = self.request(Method::GET, path)?;
        if let Wanted::Part(Range { start, end }) = wanted {
            request = request.header(RANGE, format!("bytes={start}-{}", end - 1));
        }
        let answer = request.send().await.map_err(failure)?;
        match (answer.status(), wanted) {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            // The file ends before.
            (StatusCode::RANGE_NOT_SATISFIABLE, Wanted::Part(_)) => Ok(Some(Bytes::new())),
            (StatusCode::PARTIAL_CONTENT, Wanted::Part(range)) => {
                let offset = content_range_start(&answer).filter(|offset| *offset <= range.start);
                let offset = offset.ok_or(io::ErrorKind::InvalidData)?;
                body(answer, wanted.from(offset)).await.map(Some)
            }
            // Everything: a server may pass over what was asked for.
            _ => body(ok(answer)?, wanted.from(0)).await.map(Some),
        }
    }

    async fn write(&self, path: &str, bytes: Bytes) -> io::Result<()> {
        let length = bytes.len() as u64;
        let answer = self
            .request(Method::POST, path)?
            .body(bytes)
            .send()
            .await
            .map_err(failure)?;
        match ok(answer) {
            Ok(_) => Ok(()),
            // An append-only server refuses a name that is taken, by the try before this one perhaps.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => match self.head(path).await? {
                Some((Some(there), _)) if there == length => Ok(()),
                Some(_) | None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        let answer = self
            .request(Method::DELETE, path)?
            .send()
            .await
            .map_err(failure)?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(()),
            _ => ok(answer).map(drop),
        }
    }
}

/// What a server lists becomes part of a URL.
fn is_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn ok(answer: Response) -> io::Result<Response> {
    if answer.status().is_success() {
        Ok(answer)
    } else {
        Err(refusal(answer.status()))
    }
}

async fn body(mut answer: Response, mut pieces: Pieces) -> io::Result<Bytes> {
    while pieces.missing_bytes() > 0
        && let Some(piece) = answer.chunk().await.map_err(failure)?
    {
        pieces.add(&piece);
    }
    Ok(pieces.end())
}

/// RFC 9110, 14.4: where the part begins that is answered.
fn content_range_start(answer: &Response) -> Option<u64> {
    let range = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}

/// RFC 9110, 5.6.7, its preferred form.
fn time_ns(text: &str) -> Option<i64> {
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    i64::try_from(at.timestamp().as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_lock_is_read_from_its_head() {
        assert_eq!(time_ns("Thu, 01 Jan 1970 00:00:02 GMT"), Some(2_000_000_000));
        assert_eq!(time_ns("yesterday"), None);
    }

    #[test]
    fn what_a_server_lists_leads_nowhere_else() {
        assert!(is_name(&"0a".repeat(32)));
        for name in [
            "",
            "..",
            "../../config",
            &"zz".repeat(32),
            &format!("{}/", "a".repeat(63)),
        ] {
            assert!(!is_name(name));
        }
    }
}
