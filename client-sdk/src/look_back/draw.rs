//! One object of a set, drawn at random, and chunks that the index file next to it lists.
//!
//! Place: manifest -> the page with the drawn place -> the index file that follows -> chunks of packs in it.

use std::collections::VecDeque;

use berth_repository::{Id, IndexFile, IndexPack, PackBlob, header_size_bytes, open_blob};
use berth_wire::{
    FETCH_SIZE_BYTES_MAX, Manifest, ObjectEntry, ObjectKind, PAGE_ENTRIES, SetRef, ToHub, ToLaptop, decode,
};
use bytes::Bytes;

use super::{BYTES_MAX, LookBack, unasked};
use crate::claims::Claims;
use crate::{CHUNK_SIZE_BYTES_MAX, Finding, VisitError};

/// Chunks that are opened for one index file, of packs drawn from it.
const CHUNKS: usize = 2;

/// What a chunk takes at most; of larger blobs (trees of huge folders) only the beginning is asked for.
const CHUNK_BYTES_MAX: u64 = CHUNK_SIZE_BYTES_MAX as u64 + 4096;

/// See the module's header.
pub(super) struct Draw {
    set: SetRef,
    /// Which of the set's objects.
    place: u64,
    step: Step,
    /// Bytes that it asks for, or may.
    bytes: u64,
}

enum Step {
    Manifest,
    Page { manifest: Box<Manifest>, page: usize },
    Whole { entry: ObjectEntry, bytes: Vec<u8> },
    Chunks(VecDeque<Chunk>),
    Over,
}

struct Chunk {
    pack: Id,
    pack_length: u64,
    blob: PackBlob,
    bytes: Vec<u8>,
}

impl Draw {
    pub(super) const fn new(set: SetRef) -> Self {
        Self {
            set,
            place: 0,
            step: Step::Manifest,
            bytes: 0,
        }
    }

    /// What an object takes, with the chunks that may follow.
    const fn weight(entry: &ObjectEntry) -> u64 {
        match entry.kind {
            ObjectKind::Index => entry.length + CHUNKS as u64 * CHUNK_BYTES_MAX,
            _ => entry.length,
        }
    }
}

/// The next question of a draw. `None`: it is over, or waits until others have left it room.
pub(super) fn question(draws: &mut [Draw], number: usize) -> Option<ToHub> {
    let others: u64 = draws
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != number)
        .map(|(_, draw)| draw.bytes)
        .sum();
    let are_over = |draw: &Draw| matches!(draw.step, Step::Over);
    let is_last = draws
        .iter()
        .enumerate()
        .all(|(other, draw)| other == number || are_over(draw));
    let draw = draws.get_mut(number)?;
    let fetch = |kind, id, offset, left: u64| ToHub::Fetch {
        kind,
        id,
        offset,
        length: u32::try_from(left).map_or(FETCH_SIZE_BYTES_MAX, |left| left.min(FETCH_SIZE_BYTES_MAX)),
        // A backup waits for no upstream.
        knows_unavailable: false,
    };
    match &draw.step {
        Step::Manifest => Some(ToHub::FetchManifest { set: draw.set.seq }),
        Step::Page { manifest, page } => {
            let id = *manifest.pages.get(*page)?;
            Some(fetch(ObjectKind::Page, id, 0, u64::MAX))
        }
        Step::Whole { entry, bytes } => {
            if bytes.is_empty() {
                let weight = Draw::weight(entry);
                if others + weight > BYTES_MAX && others > 0 {
                    if is_last {
                        draw.step = Step::Over;
                    }
                    return None;
                }
                draw.bytes = weight;
            }
            let offset = bytes.len() as u64;
            Some(fetch(entry.kind, entry.id, offset, entry.length - offset))
        }
        Step::Chunks(chunks) => {
            let chunk = chunks.front()?;
            let got = chunk.bytes.len() as u64;
            let left = u64::from(chunk.blob.length).min(CHUNK_BYTES_MAX) - got;
            let offset = u64::from(chunk.blob.offset) + got;
            Some(fetch(ObjectKind::Pack, chunk.pack, offset, left))
        }
        Step::Over => None,
    }
}

impl LookBack {
    /// Takes the answer to the question of a draw. `false`: a whole set is lost, and there is nothing more to look at.
    pub(super) fn answered(&mut self, draw: &mut Draw, message: ToLaptop) -> Result<bool, VisitError> {
        match std::mem::replace(&mut draw.step, Step::Over) {
            Step::Manifest => {
                let Some(manifest) = self.manifest(draw.set, message)? else {
                    self.lose_set(draw.set.seq);
                    return Ok(false);
                };
                draw.place = self.below(manifest.objects);
                let page = usize::try_from(draw.place).unwrap_or(usize::MAX) / PAGE_ENTRIES;
                self.turn_to(draw, Box::new(manifest), page);
            }
            Step::Page { manifest, page } => {
                let bytes = fetched(message)?.map(|(bytes, _)| bytes);
                let is_right = |bytes: &Bytes| manifest.pages.get(page) == Some(&Id::of(bytes));
                let entries = bytes
                    .filter(is_right)
                    .and_then(|bytes| decode::<Vec<ObjectEntry>>(&bytes).ok());
                let Some(entries) = entries else {
                    self.lose_set(draw.set.seq);
                    return Ok(false);
                };
                if !self.choose(draw, &entries, page * PAGE_ENTRIES) {
                    self.turn_to(draw, manifest, page + 1);
                }
            }
            Step::Whole { entry, bytes } => self.whole(draw, entry, bytes, message)?,
            Step::Chunks(chunks) => self.chunk(draw, chunks, message)?,
            Step::Over => return Err(unasked()),
        }
        Ok(true)
    }

    /// The entries after the last page came with the manifest.
    fn turn_to(&mut self, draw: &mut Draw, manifest: Box<Manifest>, page: usize) {
        if page < manifest.pages.len() {
            draw.step = Step::Page { manifest, page };
        } else {
            self.choose(draw, &manifest.tail, manifest.pages.len() * PAGE_ENTRIES);
        }
    }

    /// Chooses what is fetched: the drawn entry itself, or for a pack one of the index files that come next, for one of
    /// these lists it. `false`: they come later.
    fn choose(&mut self, draw: &mut Draw, entries: &[ObjectEntry], first: usize) -> bool {
        let place = usize::try_from(draw.place)
            .unwrap_or(usize::MAX)
            .saturating_sub(first);
        let rest = entries.get(place..).unwrap_or_default();
        let is_pack = |entry: &&ObjectEntry| entry.kind == ObjectKind::Pack;
        let is_index = |entry: &&ObjectEntry| entry.kind == ObjectKind::Index;
        let skipped = rest.iter().take_while(is_pack).count();
        let after = rest.get(skipped..).unwrap_or_default();
        let indexes = after.iter().take_while(is_index).count();
        let which = usize::try_from(self.below(indexes as u64)).unwrap_or(0);
        let Some(entry) = after.get(which) else {
            return false;
        };
        if !self.claims.lost.contains(&entry.id) {
            let bytes = Vec::new();
            draw.step = Step::Whole { entry: *entry, bytes };
        }
        true
    }

    fn whole(
        &mut self,
        draw: &mut Draw,
        entry: ObjectEntry,
        mut bytes: Vec<u8>,
        message: ToLaptop,
    ) -> Result<(), VisitError> {
        let (ObjectEntry { kind, id, length }, set) = (entry, draw.set.seq);
        let Some((more, object_length)) = fetched(message)? else {
            self.lose(kind, id, Finding::Missing { kind, id, set });
            return Ok(());
        };
        bytes.extend_from_slice(&more);
        let got = bytes.len() as u64;
        if object_length == length && got < length && !more.is_empty() {
            draw.step = Step::Whole { entry, bytes };
            return Ok(());
        }
        if Id::of(&bytes) != id {
            self.lose(kind, id, Finding::Changed { kind, id, set });
            return Ok(());
        }
        self.seen += 1;
        draw.bytes = length;
        if kind == ObjectKind::Index
            && let Ok(index) = IndexFile::open(self.repository.key(), &bytes)
        {
            let chunks: VecDeque<Chunk> = (0..CHUNKS)
                .filter_map(|_| self.draw_chunk(&index.packs))
                .collect();
            let sizes = chunks
                .iter()
                .map(|chunk| u64::from(chunk.blob.length).min(CHUNK_BYTES_MAX));
            draw.bytes += sizes.sum::<u64>();
            draw.step = next_chunk(chunks);
        }
        Ok(())
    }

    fn draw_chunk(&mut self, packs: &[IndexPack]) -> Option<Chunk> {
        let pack = usize::try_from(self.below(packs.len() as u64)).ok();
        let pack = pack
            .and_then(|at| packs.get(at))
            .filter(|pack| !is_lost(&self.claims, pack))?;
        let blob = usize::try_from(self.below(pack.blobs.len() as u64)).ok()?;
        Some(Chunk {
            pack: pack.id,
            pack_length: pack.blobs.last()?.end() + header_size_bytes(&pack.blobs) as u64,
            blob: *pack.blobs.get(blob)?,
            bytes: Vec::new(),
        })
    }

    fn chunk(
        &mut self,
        draw: &mut Draw,
        mut chunks: VecDeque<Chunk>,
        message: ToLaptop,
    ) -> Result<(), VisitError> {
        let Some(mut chunk) = chunks.pop_front() else {
            return Err(unasked());
        };
        let (kind, id, set) = (ObjectKind::Pack, chunk.pack, draw.set.seq);
        match fetched(message)? {
            // It may be upstream only, where this hub can't look now.
            None if self.reclaimed_through.is_some_and(|through| set <= through) => {}
            None => self.lose(kind, id, Finding::Missing { kind, id, set }),
            Some((more, object_length)) => {
                chunk.bytes.extend_from_slice(&more);
                let (got, length) = (chunk.bytes.len() as u64, u64::from(chunk.blob.length));
                let is_right = object_length == chunk.pack_length && !more.is_empty();
                if is_right && got < length.min(CHUNK_BYTES_MAX) {
                    chunks.push_front(chunk);
                } else if is_right
                    && (got < length || open_blob(self.repository.key(), &chunk.blob, &chunk.bytes).is_ok())
                {
                    self.seen += 1;
                } else {
                    self.lose(kind, id, Finding::Changed { kind, id, set });
                }
            }
        }
        draw.step = next_chunk(chunks);
        Ok(())
    }
}

fn next_chunk(chunks: VecDeque<Chunk>) -> Step {
    if chunks.is_empty() {
        Step::Over
    } else {
        Step::Chunks(chunks)
    }
}

fn is_lost(claims: &Claims, pack: &IndexPack) -> bool {
    claims.lost.contains(&pack.id)
}

/// Bytes and the length of the whole object; `None`: not there.
fn fetched(message: ToLaptop) -> Result<Option<(Bytes, u64)>, VisitError> {
    match message {
        ToLaptop::Fetched { bytes, object_length } => Ok(Some((bytes, object_length))),
        ToLaptop::Missing => Ok(None),
        _ => Err(unasked()),
    }
}
