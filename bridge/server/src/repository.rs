//! Laptops' repositories as callers see them: what is in them, and its bytes from wherever they are.
//!
//! Place: requests for `LAPTOP/...` look here; objects come from the spool, and from what is behind it once reclaiming
//! removed them there.
//! Invariant: only objects of sealed sets are told of. What was told once stays true: objects never change and never
//! go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use berth_bridge::{LaptopId, SetRecord};
use berth_repository::Id;
use berth_wire::{ObjectEntry, ObjectKind, SetRef};
use bytes::Bytes;

use crate::Program;
use crate::answer::Failure;

/// Lists that are kept: a reader asks for thousands of objects of one laptop. One has 60 bytes an object, at 1 TB 4 MB.
const LISTS_MAX: usize = 4;

/// What is in the repository of one laptop.
pub(crate) struct Repository {
    pub(crate) laptop: LaptopId,
    /// Of these sets.
    sets: Vec<SetRef>,
    /// By kind and id.
    objects: Vec<ObjectEntry>,
}

impl Repository {
    pub(crate) fn of_kind(&self, kind: ObjectKind) -> &[ObjectEntry] {
        let begin = self.objects.partition_point(|entry| entry.kind < kind);
        let end = self.objects.partition_point(|entry| entry.kind <= kind);
        self.objects.get(begin..end).unwrap_or_default()
    }

    pub(crate) fn find(&self, kind: ObjectKind, id: &Id) -> Option<ObjectEntry> {
        let of_kind = self.of_kind(kind);
        let place = of_kind.binary_search_by_key(id, |entry| entry.id).ok()?;
        of_kind.get(place).copied()
    }

    pub(crate) fn config(&self) -> Option<ObjectEntry> {
        self.of_kind(ObjectKind::Config).first().copied()
    }
}

/// The repositories that were asked for last, by the names that were asked for.
#[derive(Default)]
pub(crate) struct Repositories(Mutex<VecDeque<(String, Arc<Repository>)>>);

impl Repositories {
    /// As it was when it was last looked at, if that is known.
    pub(crate) fn known(&self, name: &str) -> Option<Arc<Repository>> {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = lists.iter().position(|(one, _)| one == name)?;
        let found = lists.remove(place)?;
        let repository = Arc::clone(&found.1);
        lists.push_front(found);
        Some(repository)
    }

    /// As it is now.
    pub(crate) fn look(&self, program: &dyn Program, name: &str) -> Result<Arc<Repository>, Failure> {
        let laptop = meant(program, name)?;
        let sets = program.spool().sets(&laptop).map_err(Failure::spool)?;
        let sets: Vec<SetRef> = sets.iter().filter_map(SetRecord::set_ref).collect();
        let known = self.known(name);
        if let Some(known) = known.filter(|known| known.laptop == laptop && known.sets == sets) {
            return Ok(known);
        }
        let objects = program.spool().sealed_objects(&laptop).map_err(Failure::spool)?;
        let repository = Arc::new(Repository {
            laptop,
            sets,
            objects,
        });
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|(one, _)| one != name);
        lists.push_front((name.to_owned(), Arc::clone(&repository)));
        lists.truncate(LISTS_MAX);
        Ok(repository)
    }
}

/// Whom a caller means: a laptop's name, where only one has it; that and 8 digits of its key; or all 64 digits of its
/// key.
pub(crate) fn meant(program: &dyn Program, text: &str) -> Result<LaptopId, Failure> {
    let known = program.laptops().map_err(Failure::Broken)?;
    if let Some(laptop) = LaptopId::from_hex(text) {
        let found = known.into_iter().find(|(one, _)| *one == laptop);
        return found.map(|(laptop, _)| laptop).ok_or(Failure::NotThere);
    }
    let mut of_name = known.iter().filter(|(_, name)| name == text);
    match (of_name.next(), of_name.next()) {
        (Some((laptop, _)), None) => Ok(*laptop),
        (Some(_), Some(_)) => Err(Failure::Several),
        (None, _) => {
            let found = known
                .iter()
                .find(|(laptop, name)| format!("{name}-{laptop}") == text);
            found.map(|(laptop, _)| *laptop).ok_or(Failure::NotThere)
        }
    }
}

/// Bytes of a spool's object that are read at once.
const PIECE_SIZE_BYTES: usize = 256 * 1024;

/// Of an object that is behind the spool: each piece is a request there.
const PIECE_BEHIND_SIZE_BYTES: u64 = 4 * 1024 * 1024;

/// The next bytes of an object, from `at` and never beyond `end`; at least one.
pub(crate) fn read(
    program: &dyn Program,
    laptop: &LaptopId,
    entry: &ObjectEntry,
    at: u64,
    end: u64,
) -> Result<Bytes, Failure> {
    if let Some(bytes) = read_here(program, laptop, entry, at, end)? {
        return Ok(bytes.into());
    }
    let range = at..end.min(at + PIECE_BEHIND_SIZE_BYTES);
    let size = range.end - range.start;
    let bytes = program.behind(laptop, entry, range).map_err(Failure::Behind)?;
    match bytes {
        Some(bytes) if bytes.len() as u64 == size => Ok(bytes),
        Some(_) => Err(Failure::Behind(
            "the upstream gave fewer bytes than there are".to_owned(),
        )),
        None => Err(Failure::Gone),
    }
}

/// The same from the spool alone; `None`: it has the object no more.
pub(crate) fn read_here(
    program: &dyn Program,
    laptop: &LaptopId,
    entry: &ObjectEntry,
    at: u64,
    end: u64,
) -> Result<Option<Vec<u8>>, Failure> {
    let left = usize::try_from(end - at).unwrap_or(usize::MAX);
    let bytes = program
        .spool()
        .sealed_bytes(laptop, entry, at, left.min(PIECE_SIZE_BYTES));
    bytes.map_err(Failure::spool)
}
