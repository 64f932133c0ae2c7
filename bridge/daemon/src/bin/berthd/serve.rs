//! The endpoint that backup servers call; off unless `serve` says where.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use berth_bridge::{LaptopId, Spool};
use berth_ctl::Serve;
use berth_daemon::{Forwarding, Orders};
use berth_server::{CERTIFICATE_FILE, Certificate, Program, Servers};
use berth_upstream::UpstreamUrl;
use berth_wire::ObjectEntry;
use bytes::Bytes;
use rand_core::{OsRng, RngCore};

use crate::behind::Behind;
use crate::clock::{monotonic, wall_ns};
use crate::config::{Config, host_name};
use crate::roll;
use crate::state::in_one_line;
use crate::upstream::Destination;

/// What the endpoint is answered from.
pub(crate) struct Called {
    pub(crate) name: String,
    pub(crate) spool: Arc<Spool>,
    pub(crate) orders: Orders,
    pub(crate) forwarding: Arc<Forwarding>,
    pub(crate) destination: Arc<Destination>,
    pub(crate) behind: Behind,
}

/// Listens, if the settings say where.
pub(crate) fn start(config: &Config, servers: &Arc<Servers>, called: Called) -> Result<Option<Serve>> {
    let Some(address) = config.serve else {
        return Ok(None);
    };
    let certificate = Certificate::open(called.destination.disk(), &names(config, address.ip()));
    let certificate = certificate.map_err(|error| in_one_line(&error, ""))?;
    let listener = TcpListener::bind(address);
    let listener = listener.with_context(|| format!("servers can't call at {address}"))?;
    let serve = Serve {
        address: listener.local_addr()?.to_string(),
        fingerprint: certificate.fingerprint(),
        certificate: config.state.join(CERTIFICATE_FILE).display().to_string(),
    };
    berth_server::listen(listener, certificate, Arc::clone(servers), Arc::new(called))
        .context("listening for servers")?;
    Ok(Some(serve))
}

/// What stands in the certificate: what the settings name, and what is a name besides.
fn names(config: &Config, address: IpAddr) -> Vec<String> {
    let address = (!address.is_unspecified()).then(|| address.to_string());
    let assumed = [config.name.to_string(), host_name(), "localhost".to_owned()];
    let assumed = assumed.into_iter().filter(|name| Certificate::is_name(name));
    let names: BTreeSet<String> = config
        .serve_names
        .iter()
        .cloned()
        .chain(assumed)
        .chain(address)
        .collect();
    names.into_iter().collect()
}

impl Program for Called {
    fn hub(&self) -> String {
        self.name.clone()
    }

    fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    fn laptops(&self) -> Result<Vec<(LaptopId, String)>, String> {
        let known = roll::all(&self.orders, &self.spool).map_err(|error| format!("{error:#}"))?;
        let here = self.spool.laptops().map_err(|error| error.to_string())?;
        let known = known.into_iter().filter(|one| here.contains(&one.id));
        Ok(known.map(|one| (one.id, one.name.to_string())).collect())
    }

    fn behind(
        &self,
        laptop: &LaptopId,
        entry: &ObjectEntry,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, String> {
        self.behind
            .read(laptop, entry, range)
            .map_err(|failure| failure.why)
    }

    fn forward(&self) -> Result<(), String> {
        match self.destination.url() {
            None => return Err("this hub has no upstream".to_owned()),
            Some(UpstreamUrl::Pull(server)) => {
                return Err(format!("this hub's upstream is the server {server}, which pulls"));
            }
            Some(_) => {}
        }
        // Nobody listens to what comes of it.
        drop(self.forwarding.now(None));
        Ok(())
    }

    fn upstream(&self) -> Option<String> {
        self.destination.url().map(|url| url.to_string())
    }

    fn nonce(&self) -> [u8; 32] {
        let mut nonce = [0; 32];
        OsRng.fill_bytes(&mut nonce);
        nonce
    }

    fn wall_ns(&self) -> i64 {
        wall_ns()
    }

    fn now(&self) -> Duration {
        monotonic()
    }
}
