//! The hub's own calls: what waits, to forward it now, and what `berthctl pull` asks.

use std::sync::Arc;

use berth_bridge::{Forward, LaptopId, SetRecord};
use berth_wire::{ObjectKind, SetSeq};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use jiff::Timestamp;
use tracing::info;

use crate::Program;
use crate::answer::{Answer, Failure, json, text};
use crate::confirm::Confirms;
use crate::listen::wait;
use crate::protocol::{Confirm, ListedSet, Object, Waiting, WaitingLaptop};
use crate::rest::body;

/// 1,000 proofs have 67 kB.
const CONFIRM_SIZE_BYTES_MAX: usize = 128 * 1024;

pub(crate) struct Calls {
    program: Arc<dyn Program>,
    confirms: Arc<Confirms>,
}

impl Calls {
    pub(crate) fn new(program: Arc<dyn Program>) -> Self {
        Self {
            program,
            confirms: Arc::default(),
        }
    }

    /// Answers `server`, which asks for `call`: the path behind `/~berth/`.
    pub(crate) async fn answer(
        &self,
        server: &str,
        call: &str,
        request: Request<Incoming>,
    ) -> Result<Answer, Failure> {
        let program = Arc::clone(&self.program);
        let parts: Vec<&str> = call.split('/').collect();
        let method = request.method().clone();
        match (&method, parts.as_slice()) {
            (&Method::GET, ["waiting"]) => wait(move || json(&waiting(&*program)?)).await,
            (&Method::POST, ["forward"]) => {
                info!(server, "a server asks for what waits");
                wait(move || program.forward().map_err(Failure::Conflict)).await?;
                Ok(text(StatusCode::ACCEPTED, "what waits is forwarded now"))
            }
            (&Method::GET, [laptop, "sets"]) => {
                let laptop = key(laptop)?;
                wait(move || json(&sets(&*program, &laptop)?)).await
            }
            (&Method::GET, [laptop, "sets", set]) => {
                let (laptop, set) = (key(laptop)?, number(set)?);
                wait(move || json(&objects(&*program, &laptop, set)?)).await
            }
            (&Method::GET, [laptop, "sets", set, "before"]) => {
                let (laptop, set) = (key(laptop)?, number(set)?);
                wait(move || json(&before(&*program, &laptop, set)?)).await
            }
            (&Method::POST, [laptop, "sets", set, "confirm"]) => {
                let of = (key(laptop)?, number(set)?);
                let said = body(request, CONFIRM_SIZE_BYTES_MAX).await?;
                let said: Confirm = serde_json::from_slice(&said)
                    .map_err(|_| Failure::Malformed("give a nonce and proofs, as JSON"))?;
                let (confirms, server) = (Arc::clone(&self.confirms), server.to_owned());
                wait(move || json(&confirms.step(&*program, &server, of, &said)?)).await
            }
            (
                _,
                ["waiting" | "forward"] | [_, "sets"] | [_, "sets", _] | [_, "sets", _, "before" | "confirm"],
            ) => Err(Failure::Method),
            (_, _) => Err(Failure::NotThere),
        }
    }
}

fn key(text: &str) -> Result<LaptopId, Failure> {
    LaptopId::from_hex(text).ok_or(Failure::NotThere)
}

fn number(text: &str) -> Result<SetSeq, Failure> {
    text.parse().map(SetSeq).map_err(|_| Failure::NotThere)
}

fn sets(program: &dyn Program, laptop: &LaptopId) -> Result<Vec<ListedSet>, Failure> {
    let spool = program.spool();
    let next = spool.to_confirm(laptop).map_err(Failure::spool)?;
    let has_upstream = program.upstream().is_some();
    let sets = spool.sets(laptop).map_err(Failure::spool)?;
    let listed = sets.iter().filter_map(|record| {
        Some(ListedSet {
            set: record.seq.0,
            snapshot: record.sealed()?.snapshot,
            confirmed: has_upstream && next.is_none_or(|next| record.seq < next.seq),
        })
    });
    Ok(listed.collect())
}

fn objects(program: &dyn Program, laptop: &LaptopId, set: SetSeq) -> Result<Vec<Object>, Failure> {
    let found = program.spool().set_objects(laptop, set);
    let (_, objects) = found.map_err(Failure::spool)?.ok_or(Failure::NotThere)?;
    Ok(objects.iter().map(Object::from).collect())
}

fn before(program: &dyn Program, laptop: &LaptopId, set: SetSeq) -> Result<Vec<Object>, Failure> {
    let mut before = Vec::new();
    let sets = program.spool().sets(laptop).map_err(Failure::spool)?;
    for record in sets.iter().filter(|record| record.seq < set) {
        let found = program.spool().set_objects(laptop, record.seq);
        // The open one has none.
        let Some((_, objects)) = found.map_err(Failure::spool)? else {
            continue;
        };
        let needed = objects
            .iter()
            .filter(|entry| matches!(entry.kind, ObjectKind::Pack | ObjectKind::Index));
        before.extend(needed.map(Object::from));
    }
    Ok(before)
}

fn waiting(program: &dyn Program) -> Result<Waiting, Failure> {
    let laptops = program.laptops().map_err(Failure::Broken)?;
    let laptops = laptops.into_iter().map(|(laptop, name)| {
        let spool = program.spool();
        let sets = spool.sets(&laptop).map_err(Failure::spool)?;
        let sealed = sets.iter().filter_map(SetRecord::sealed);
        let mut waiting = WaitingLaptop {
            laptop: name,
            key: laptop.hex(),
            repository: spool.repository(&laptop).map_err(Failure::spool)?,
            sets_waiting: 0,
            bytes_waiting: 0,
            waiting_since: None,
        };
        for one in sealed.filter(|one| !matches!(one.forward, Forward::Done { .. })) {
            waiting.sets_waiting += 1;
            waiting.bytes_waiting += one.bytes;
            let at = Timestamp::from_nanosecond(one.sealed_at_ns.into()).ok();
            waiting.waiting_since = waiting.waiting_since.or(at);
        }
        Ok(waiting)
    });
    Ok(Waiting {
        hub: program.hub(),
        upstream: program.upstream(),
        laptops: laptops.collect::<Result<_, _>>()?,
    })
}
