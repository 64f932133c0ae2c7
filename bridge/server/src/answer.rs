//! Answers: bodies, and what a refusal is in HTTP.

use std::io;

use berth_bridge::StoreError;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tracing::warn;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) type Answer = Response<Body>;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No such thing here.
    NotThere,
    /// Neither the spool nor what is behind it has the object any more.
    Gone,
    /// Several laptops have the name.
    Several,
    /// It would change something.
    ReadOnly,
    /// Not what there is a request for.
    Method,
    /// It is not what it should be.
    Malformed(&'static str),
    /// It asks for more than there is place for.
    TooMany,
    /// It does not fit what is.
    Conflict(String),
    /// A range that begins behind the end.
    Range { length: u64 },
    /// What is behind the spool fails.
    Behind(String),
    /// The spool fails.
    Spool(StoreError),
    /// The hub fails.
    Broken(String),
}

impl Failure {
    pub(crate) const fn spool(error: StoreError) -> Self {
        Self::Spool(error)
    }

    /// What the caller gets: a line that says what happened.
    pub(crate) fn answer(self) -> Answer {
        let (status, line) = match self {
            Self::NotThere => (StatusCode::NOT_FOUND, "there is no such thing here".to_owned()),
            Self::Gone => (
                StatusCode::NOT_FOUND,
                "the hub removed it when it needed room, and does not find it upstream".to_owned(),
            ),
            Self::Several => (
                StatusCode::CONFLICT,
                "several laptops have this name: ask for NAME-KEY, with the first 8 digits of its key"
                    .to_owned(),
            ),
            Self::ReadOnly => (
                StatusCode::FORBIDDEN,
                "what is here can be read, not changed".to_owned(),
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "that can't be done here".to_owned(),
            ),
            Self::Malformed(what) => (StatusCode::BAD_REQUEST, what.to_owned()),
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "there are too many of them: try again later".to_owned(),
            ),
            Self::Conflict(line) => (StatusCode::CONFLICT, line),
            Self::Range { length } => {
                let mut answer = text(StatusCode::RANGE_NOT_SATISFIABLE, "it ends before");
                if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
                    answer.headers_mut().insert(hyper::header::CONTENT_RANGE, value);
                }
                return answer;
            }
            Self::Behind(why) => {
                warn!(why, "a server could not be given what is upstream only");
                (StatusCode::BAD_GATEWAY, why)
            }
            Self::Spool(error) => {
                warn!(%error, "a server could not be answered");
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            Self::Broken(why) => {
                warn!(why, "a server could not be answered");
                (StatusCode::INTERNAL_SERVER_ERROR, why)
            }
        };
        text(status, &line)
    }
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    with_status(status, body)
}

pub(crate) fn bytes(kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let body = Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut answer = with_status(StatusCode::OK, body);
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<Answer, Failure> {
    let text = serde_json::to_vec(value).map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(bytes("application/json", text))
}

/// One line.
pub(crate) fn text(status: StatusCode, line: &str) -> Answer {
    let mut answer = bytes("text/plain; charset=utf-8", format!("{line}\n"));
    *answer.status_mut() = status;
    answer
}

/// To whoever shows no token, or a wrong one: the connection ends with it.
pub(crate) fn who_are_you() -> Answer {
    let mut answer = text(StatusCode::UNAUTHORIZED, "name the server and its token");
    let headers = answer.headers_mut();
    headers.insert(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"berth\""),
    );
    headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

pub(crate) fn with_status(status: StatusCode, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
