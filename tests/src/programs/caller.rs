//! A backup server that calls a hub.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::PathBuf;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::Office;

/// One server, with its token and the hub's certificate.
pub struct Caller {
    /// What it is called.
    pub name: String,
    /// What it shows.
    pub token: String,
    /// `ADDR:PORT` of the hub.
    pub hub: String,
    /// File of the hub's certificate.
    pub certificate: PathBuf,
    runtime: Runtime,
    client: Client,
}

/// What a hub answered.
pub struct Answered {
    /// In HTTP.
    pub status: StatusCode,
    /// All of them.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Answered {
    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Caller {
    /// Adds a server to a running hub that listens for servers.
    ///
    /// # Panics
    /// Where the hub does not.
    #[must_use]
    pub fn add(office: &Office, name: &str) -> Self {
        let added = office.ctl(&["server", "add", name]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let certificate = PathBuf::from(text(&added["serve"]["certificate"]));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pem = Certificate::from_pem(&fs::read(&certificate).unwrap()).unwrap();
        Self {
            name: name.to_owned(),
            token: text(&added["token"]),
            hub: text(&added["serve"]["address"]),
            certificate,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            client: Client::builder().tls_certs_only([pem]).build().unwrap(),
        }
    }

    /// The URL of a laptop's repository for restic, with the token in it.
    #[must_use]
    pub fn repository(&self, laptop: &str) -> String {
        let Self { name, token, hub, .. } = self;
        format!("rest:https://{name}:{token}@{hub}/{laptop}/")
    }

    /// Asks with the server's token.
    #[must_use]
    pub fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answered {
        self.ask_as(&self.name, &self.token, method, path, headers, body)
    }

    /// Asks to read.
    #[must_use]
    pub fn read(&self, path: &str) -> Answered {
        self.ask(Method::GET, path, &[], &[])
    }

    /// Asks as somebody else.
    ///
    /// # Panics
    /// Where no answer comes.
    #[must_use]
    pub fn ask_as(
        &self,
        name: &str,
        token: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answered {
        let url = format!("https://{}/{path}", self.hub);
        let mut request = self.client.request(method, url).basic_auth(name, Some(token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body.to_vec());
        }
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            Answered {
                status: answer.status(),
                headers: answer.headers().clone(),
                body: answer.bytes().await.unwrap().to_vec(),
            }
        })
    }
}
