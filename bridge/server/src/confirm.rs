//! A server proves that it has the objects of a set: it hashes them with a nonce of the hub's, and the hub does the
//! same.
//!
//! Place: `POST KEY/sets/N/confirm` -> [`Confirms::step`] -> [`berth_bridge::Spool::sign_upstream`].
//! Invariant: sets are confirmed in their order, by the server alone that is the hub's upstream, after it has proved
//! every object of the set; each nonce is good for one try. What was only read proves nothing. (A server that reads an
//! object from the hub while it proves it, and keeps it nowhere, harms its owner alone; a hub can't tell.)

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_bridge::{LaptopId, ROOM_SIZE_BYTES_MIN};
use berth_repository::Id;
use berth_wire::{ObjectEntry, SetRef, SetSeq};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tracing::info;

use crate::Program;
use crate::answer::Failure;
use crate::protocol::{Confirm, Confirming, PULL};

/// Objects that are proved at once: about as many bytes, so that neither side is silent for long.
const BATCH_SIZE_BYTES: u64 = 128 * 1024 * 1024;

/// And at most so many.
pub(crate) const BATCH_OBJECTS_MAX: usize = 1_000;

/// Batches that wait for their proof. The oldest gives way: its server begins the set again.
const BATCHES_MAX: usize = 64;

/// Longest time for a proof.
const PROOF_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// What a server was asked to prove.
struct Batch {
    nonce: Id,
    asked_at: Duration,
    server: String,
    laptop: LaptopId,
    set: SetRef,
    range: Range<usize>,
}

#[derive(Default)]
pub(crate) struct Confirms {
    batches: Mutex<VecDeque<Batch>>,
    /// Held while a set is signed for: one server may prove it twice at the same time.
    signing: Mutex<()>,
}

impl Confirms {
    /// Takes what a server says of a set, and asks for more, until the set is confirmed.
    pub(crate) fn step(
        &self,
        program: &dyn Program,
        server: &str,
        (laptop, seq): (LaptopId, SetSeq),
        said: &Confirm,
    ) -> Result<Confirming, Failure> {
        // Before the upstream is looked at: where another one is set meanwhile, this does not count for that one.
        let now_ns = program.wall_ns();
        let upstream = program.upstream();
        if upstream
            .as_deref()
            .and_then(|upstream| upstream.strip_prefix(PULL))
            != Some(server)
        {
            let line = "this server is not the hub's upstream: what it pulled is not confirmed";
            return Err(Failure::Conflict(line.to_owned()));
        }
        let spool = program.spool();
        let found = spool.set_objects(&laptop, seq).map_err(Failure::spool)?;
        let (set, objects) = found.ok_or(Failure::NotThere)?;
        match spool.to_confirm(&laptop).map_err(Failure::spool)? {
            Some(next) if next.seq < seq => {
                let line = format!("set {} comes first", next.seq.0);
                return Err(Failure::Conflict(line));
            }
            Some(next) if next == set => {}
            Some(_) | None => return Ok(Confirming::Confirmed),
        }
        let proved = match said.nonce {
            None => 0,
            Some(nonce) => {
                let batch = self.take(program.now(), &nonce);
                let batch = batch
                    .filter(|batch| batch.server == server && batch.laptop == laptop && batch.set == set);
                let batch = batch.ok_or_else(|| {
                    Failure::Conflict("it was not asked for, or too long ago: begin the set again".to_owned())
                })?;
                let asked = objects.get(batch.range.clone()).unwrap_or_default();
                check(program, &laptop, asked, &nonce, &said.proofs)?;
                batch.range.end
            }
        };
        let left = objects.get(proved..).unwrap_or_default();
        if left.is_empty() {
            let _signing = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
            if spool.to_confirm(&laptop).map_err(Failure::spool)? != Some(set) {
                return Ok(Confirming::Confirmed);
            }
            let signed = spool.sign_upstream(&laptop, set, now_ns);
            signed.map_err(Failure::spool)?;
            info!(server, %laptop, set = seq.0, "a server confirmed that it has the set");
            // What goes wrong here goes wrong again at the next visit, which says so.
            let _ = spool.make_room(&laptop, ROOM_SIZE_BYTES_MIN);
            return Ok(Confirming::Confirmed);
        }
        let (nonce, count) = (Id::new(program.nonce()), batch_count(left));
        let mut batches = self.lock();
        batches.push_back(Batch {
            nonce,
            asked_at: program.now(),
            server: server.to_owned(),
            laptop,
            set,
            range: proved..proved + count,
        });
        if batches.len() > BATCHES_MAX {
            batches.pop_front();
        }
        Ok(Confirming::Prove {
            nonce,
            from: proved,
            count,
        })
    }

    fn take(&self, now: Duration, nonce: &Id) -> Option<Batch> {
        let mut batches = self.lock();
        batches.retain(|batch| now.saturating_sub(batch.asked_at) < PROOF_TIME_MAX);
        let place = batches.iter().position(|batch| batch.nonce == *nonce)?;
        batches.remove(place)
    }

    // Whole between any two calls.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Batch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At least one.
fn batch_count(left: &[ObjectEntry]) -> usize {
    let mut bytes = 0_u64;
    let fits = left.iter().take(BATCH_OBJECTS_MAX).take_while(|entry| {
        bytes = bytes.saturating_add(entry.length);
        bytes <= BATCH_SIZE_BYTES
    });
    fits.count().max(1)
}

/// Compares proofs with what the spool has.
fn check(
    program: &dyn Program,
    laptop: &LaptopId,
    asked: &[ObjectEntry],
    nonce: &Id,
    proofs: &[Id],
) -> Result<(), Failure> {
    if proofs.len() != asked.len() {
        let line = format!(
            "{} proofs came where {} were asked for",
            proofs.len(),
            asked.len()
        );
        return Err(Failure::Conflict(line));
    }
    for (entry, proof) in asked.iter().zip(proofs) {
        let mut own = Prover::new(nonce);
        let mut at = 0;
        while at < entry.length {
            let piece = crate::repository::read_here(program, laptop, entry, at, entry.length)?;
            own.take(&piece.ok_or(Failure::Gone)?);
            at = own.taken_bytes;
        }
        if !bool::from(own.proof().as_bytes().ct_eq(proof.as_bytes())) {
            let line = format!(
                "the bytes of {} are others than the hub's: not confirmed",
                entry.id
            );
            return Err(Failure::Conflict(line));
        }
    }
    Ok(())
}

/// Computes a proof over an object's bytes.
pub(crate) struct Prover {
    hmac: Hmac<Sha256>,
    taken_bytes: u64,
}

impl Prover {
    pub(crate) fn new(nonce: &Id) -> Self {
        let block = Hmac::<Sha256>::new_from_slice(nonce.as_bytes());
        Self {
            hmac: block.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")),
            taken_bytes: 0,
        }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.hmac.update(bytes);
        self.taken_bytes += bytes.len() as u64;
    }

    pub(crate) fn proof(self) -> Id {
        Id::new(self.hmac.finalize().into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use berth_wire::ObjectKind;

    use super::*;

    #[test]
    fn a_proof_depends_on_the_nonce_and_on_every_byte() {
        let mut prover = Prover::new(&Id::new([0xaa; 32]));
        prover.take(b"Test ");
        prover.take(b"it");
        let mut whole = Prover::new(&Id::new([0xaa; 32]));
        whole.take(b"Test it");
        assert_eq!(prover.proof(), whole.proof());
        let proof = |nonce, bytes: &[u8]| {
            let mut prover = Prover::new(&Id::new([nonce; 32]));
            prover.take(bytes);
            prover.proof()
        };
        assert_ne!(proof(1, b"x"), proof(2, b"x"));
        assert_ne!(proof(1, b"x"), proof(1, b"y"));
    }

    #[test]
    fn a_batch_is_bounded_and_never_empty() {
        let entry = |length| ObjectEntry {
            kind: ObjectKind::Pack,
            id: Id::of(b""),
            length,
        };
        assert_eq!(batch_count(&[entry(u64::MAX)]), 1);
        assert_eq!(batch_count(&vec![entry(1); 5_000]), BATCH_OBJECTS_MAX);
        assert_eq!(batch_count(&vec![entry(16 * 1024 * 1024); 50]), 8);
    }
}
