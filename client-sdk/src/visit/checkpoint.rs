//! What makes a visit restorable if it is cut now: provisional trees, the rest of the index, a partial snapshot.
//!
//! Place: [`super::marks`] says when -> [`make`] queues the objects and the `Checkpoint` message.
//! Invariant: the log and the catalogue that go with a checkpoint are synced before it is queued; what it is made of goes
//! to the hub as provisional and never into the set; its bytes stay within the budget. Where that is too small for the
//! trees of all that is done, a checkpoint that was asked for covers what was done at an earlier moment.

use berth_repository::{
    BlobKind, COMPRESSION_LEVEL, Id, IndexFile, IndexPack, PackBuilder, PackError, Sealer,
};
use berth_wire::{Mark, ObjectKind, OpenPack, SetKind, SetRef, ToHub, encode};

use super::contents::Contents;
use super::log::Record;
use super::memory::CatalogueRef;
use super::overlay::Overlay;
use super::sink::Sink;
use super::work::{Moment, Work};
use super::{Base, Opened, SealedSet, VisitError};
use crate::chunker::CHUNK_SIZE_BYTES_AVERAGE;

/// What all checkpoints of a visit may cost, in thousandths of what the visit sends: with what a cut costs besides
/// it stays below 2 % (promise 2).
const BUDGET_PER_MILLE: u64 = 16;

/// Of what was sent so far, for marks that nobody asked for: the rest is kept for the user who leaves.
const REGULAR_PER_MILLE: u64 = 9;

/// Allowed in any visit, however little it sends: half of the one chunk that a cut may cost.
const ALWAYS_BYTES: u64 = CHUNK_SIZE_BYTES_AVERAGE as u64 / 2;

/// Of the whole budget, for marks that nobody asked for where a regular one is too dear, in eighths: to be taken between
/// these two.
const LAST_CHANCE_EIGHTHS: (u64, u64) = (1, 3);

/// Raw JSON of trees shrinks at least to this share when it is compressed: ids are random, names may be, all else is
/// not. Where names are alike it is a sixth.
const TREE_SHRINKS: u64 = 4;

/// An entry of the index, compressed and sealed: its id, two numbers.
const INDEX_ENTRY_BYTES: u64 = 45;

/// A node of a file of the first pass, and its share in the nodes of its folders.
const FIRST_FILE_BYTES: u64 = 200;

/// A manifest without its lists, a snapshot, headers of messages.
const FIXED_BYTES: u64 = 1_500;

/// What checkpoints have cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Budget {
    spent: u64,
}

impl Budget {
    /// Whether a checkpoint that nobody asked for may be made now, and its packs go on.
    pub(super) fn allows(self, work: &Work, bytes_changed: u64) -> bool {
        let queued = work.sink.bytes_queued;
        let expected = expected_bytes(work, bytes_changed, queued);
        let allowed = (queued * REGULAR_PER_MILLE + expected) / 1000 + ALWAYS_BYTES / 16;
        self.spent + packs_cost(&work.sink) + trees_cost(work) <= allowed
    }

    /// Whether one before which the packs end should be made, though nobody asked for it: where folders are flat and
    /// files tiny no regular one is ever allowed.
    pub(super) fn is_last_chance(self, work: &Work, bytes_changed: u64) -> bool {
        let queued = work.sink.bytes_queued;
        self.is_chance(work, bytes_changed, [queued, queued])
    }

    /// Whether it may be one once all that was read is sealed: until then less is queued than will be.
    pub(super) fn may_be_last_chance(self, work: &Work, bytes_changed: u64) -> bool {
        let queued = work.sink.bytes_queued;
        let sealed = queued.max(work.report.bytes_stored);
        self.is_chance(work, bytes_changed, [queued, sealed])
    }

    /// `queued`: for the least and for the most that a checkpoint may cost.
    fn is_chance(self, work: &Work, bytes_changed: u64, queued: [u64; 2]) -> bool {
        let cost = trees_cost(work);
        let [least, most] = queued.map(|queued| whole_bytes(work, bytes_changed, queued) / 8);
        cost >= least * LAST_CHANCE_EIGHTHS.0 && self.spent + cost <= most * LAST_CHANCE_EIGHTHS.1
    }

    /// To be called between two entries: remembers the moment if the user could leave now, and a little later too: what
    /// the visit is expected to send goes down as well as up.
    pub(super) fn look(self, work: &mut Work, bytes_changed: u64) {
        let cost = trees_cost(work);
        let bytes_stored = work.report.bytes_stored;
        if work.reading.is_none()
            && self.spent + cost <= whole_bytes(work, bytes_changed, work.sink.bytes_queued) / 8 * 7
            && let Some(frame) = work.frames.last_mut()
        {
            frame.affordable = Some(Moment {
                out: frame.out.len(),
                at: frame.at,
                bytes_stored,
                cost,
            });
        }
    }

    /// What a checkpoint for the user who leaves can cover.
    pub(super) fn reach(self, work: &Work, bytes_changed: u64) -> Option<Reach> {
        let whole = whole_bytes(work, bytes_changed, work.sink.bytes_queued);
        let left = whole.saturating_sub(self.spent);
        if trees_cost(work) <= left {
            return Some(Reach::Now);
        }
        let moments = work.frames.iter().enumerate().rev();
        moments
            .filter_map(|(depth, frame)| Some((depth, frame.affordable?)))
            .find(|(_, moment)| moment.cost <= left)
            .map(|(depth, moment)| Reach::Earlier {
                depth,
                bytes_stored: moment.bytes_stored,
            })
    }
}

/// Up to where a checkpoint covers what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Now,
    /// Up to the affordable moment of the folder that deep.
    Earlier {
        depth: usize,
        bytes_stored: u64,
    },
}

/// What all checkpoints may cost, by what was queued for the bytes that are done.
fn whole_bytes(work: &Work, changed: u64, queued: u64) -> u64 {
    expected_bytes(work, changed, queued) * BUDGET_PER_MILLE / 1000 + ALWAYS_BYTES
}

/// What the visit will have sent at its end, from the share of changed bytes that is done.
fn expected_bytes(work: &Work, changed: u64, queued: u64) -> u64 {
    const ENOUGH_TO_TELL_BYTES: u64 = 256 * 1024;
    let done = work.report.progress.bytes_done;
    if done < ENOUGH_TO_TELL_BYTES {
        return queued.max(changed / 4);
    }
    let expected = u128::from(queued) * u128::from(changed.max(done)) / u128::from(done);
    u64::try_from(expected).unwrap_or(u64::MAX / 1000)
}

/// About how many bytes a checkpoint would take now for packs that go on. Where they end before it, what is sent of
/// them stays.
fn packs_cost(sink: &Sink) -> u64 {
    let open = [&sink.data, &sink.trees].into_iter().flatten();
    let (headers, blobs) = open.fold((0, 0), |(headers, blobs), open| {
        (
            headers + open.builder.header_size_bytes() as u64,
            blobs + open.builder.blobs().len() as u64,
        )
    });
    // A final index is no cost of the checkpoint.
    let unlisted = if sink.index_is_due() {
        0
    } else {
        sink.unlisted_blobs
    };
    headers + (blobs + unlisted) * INDEX_ENTRY_BYTES
}

/// And for all else.
fn trees_cost(work: &Work) -> u64 {
    let contents = &work.sink.contents;
    let trees: u64 = work
        .frames
        .iter()
        .map(|frame| {
            let old = frame.old.map_or(0, |old| old.length);
            let left = (frame.records.len() - frame.at) as u64;
            // What is left of the old entries, by what is left of the new ones.
            let old_left = old.min(old * left / (frame.records.len() as u64).max(1));
            frame.tree.size_bytes() as u64 / TREE_SHRINKS + old_left
        })
        .sum();
    let reading = work
        .reading
        .as_ref()
        .map_or(0, |reading| reading.file.chunks.len() as u64 * 36);
    // Folders that the second pass has come by are among them: better too much than too little.
    let first_folders = if work.first_left == 0 {
        0
    } else {
        work.first_size_bytes / 2
    };
    let first = work.first_left as u64 * FIRST_FILE_BYTES + first_folders;
    let contents = contents.tail.len() as u64 * 45 + contents.pages.len() as u64 * 34;
    trees + reading + first + contents + FIXED_BYTES
}

/// Queues a checkpoint; gives the set that a cut makes of it.
pub(super) fn make(
    base: &Base,
    work: &mut Work,
    opened: &Opened,
    mark: Mark,
    reach: Reach,
    budget: &mut Budget,
) -> Result<SealedSet, VisitError> {
    if work.sink.index_is_due() {
        work.sink.send_index()?;
    }
    let queued_before = work.sink.bytes_queued;
    let depth = match reach {
        Reach::Now => None,
        Reach::Earlier { depth, .. } => Some(depth),
    };
    let overlay = Overlay::make(work, depth)?;
    let sink = &mut work.sink;
    let mut contents = sink.contents.clone();
    let mut index = IndexFile {
        packs: sink.unlisted.clone(),
        ..IndexFile::default()
    };
    let open = open_packs(sink, &mut contents, &mut index);
    let (tree, catalogue_root) = (overlay.tree, (overlay.block, overlay.weight));
    trees(sink, overlay.trees, &mut contents, &mut index)?;
    if !index.packs.is_empty() {
        let nonce = sink.nonce();
        let file = index.seal(&sink.key, nonce).map_err(VisitError::Seal)?;
        provisional(sink, &mut contents, ObjectKind::Index, file.id, file.bytes);
    }
    let snapshot = base.snapshot(opened, tree, SetKind::Partial);
    let nonce = sink.nonce();
    let file = snapshot.seal(&sink.key, nonce).map_err(VisitError::Seal)?;
    let snapshot = file.id;
    provisional(sink, &mut contents, ObjectKind::Snapshot, file.id, file.bytes);

    let manifest = base.manifest(
        &contents,
        work.report.not_read_count,
        opened,
        SetKind::Partial,
        mark.0,
        snapshot,
    );
    let manifest = base.sign(&manifest)?;
    let made = SealedSet {
        set: SetRef {
            seq: opened.set,
            manifest: manifest.id(),
        },
        snapshot: Some(snapshot),
        kind: Some(SetKind::Partial),
    };
    work.catalogue.sync()?;
    let catalogue = CatalogueRef {
        number: work.catalogue_number,
        length: work.catalogue.length(),
        tree,
        block: catalogue_root.0,
        weight: catalogue_root.1,
        is_partial: true,
    };
    let sink = &mut work.sink;
    sink.log.append(&Record::Manifest {
        id: made.set.manifest,
        snapshot,
        catalogue,
    })?;
    sink.log.sync()?;
    let message = ToHub::Checkpoint { mark, open, manifest };
    budget.spent += encode(&message).map_or(0, |bytes| bytes.len() as u64);
    sink.control(message);
    // Marks are placed by what stays.
    budget.spent += sink.bytes_queued - queued_before;
    sink.bytes_queued = queued_before;
    Ok(made)
}

/// What the open packs would be.
fn open_packs(sink: &mut Sink, contents: &mut Contents, index: &mut IndexFile) -> Vec<OpenPack> {
    let nonces = [sink.nonce(), sink.nonce()];
    let mut open_packs = Vec::new();
    for (open, nonce) in [&sink.data, &sink.trees].into_iter().zip(nonces) {
        let Some(open) = open.as_ref().filter(|open| !open.builder.is_empty()) else {
            continue;
        };
        let closed = open.builder.would_be(&sink.key, nonce);
        let length = u64::from(open.builder.length());
        contents.add_provisional(ObjectKind::Pack, closed.id, length + closed.header.len() as u64);
        index.packs.push(IndexPack {
            id: closed.id,
            blobs: open.builder.blobs().to_vec(),
        });
        open_packs.push(OpenPack {
            upload: open.upload,
            length,
            header: closed.header,
            pack: closed.id,
        });
    }
    open_packs
}

/// Packs of the trees that the repository does not have yet.
fn trees(
    sink: &mut Sink,
    trees: Vec<(Id, Vec<u8>)>,
    contents: &mut Contents,
    index: &mut IndexFile,
) -> Result<(), VisitError> {
    let mut sealer = Sealer::new(sink.key.clone(), COMPRESSION_LEVEL).map_err(VisitError::Seal)?;
    let (mut builder, mut bytes) = (PackBuilder::new(), Vec::new());
    let mut packed = std::collections::BTreeSet::new();
    for (id, json) in trees {
        if sink.known.contains(BlobKind::Tree, id)? || !packed.insert(id) {
            continue;
        }
        let nonce = sink.nonce();
        let blob = sealer
            .seal(BlobKind::Tree, id, &json, nonce)
            .map_err(VisitError::Seal)?;
        let added = match builder.add(&blob) {
            Err(PackError::Full) => {
                close_trees(
                    sink,
                    std::mem::take(&mut builder),
                    std::mem::take(&mut bytes),
                    contents,
                    index,
                );
                builder.add(&blob)
            }
            added => added,
        };
        added.map_err(|error| VisitError::Folder {
            path: "/".into(),
            error,
        })?;
        bytes.extend_from_slice(&blob.bytes);
    }
    close_trees(sink, builder, bytes, contents, index);
    Ok(())
}

fn close_trees(
    sink: &mut Sink,
    builder: PackBuilder,
    mut bytes: Vec<u8>,
    contents: &mut Contents,
    index: &mut IndexFile,
) {
    if builder.is_empty() {
        return;
    }
    let nonce = sink.nonce();
    let (closed, blobs) = builder.close(&sink.key, nonce);
    bytes.extend_from_slice(&closed.header);
    index.packs.push(IndexPack { id: closed.id, blobs });
    provisional(sink, contents, ObjectKind::Pack, closed.id, bytes);
}

fn provisional(sink: &mut Sink, contents: &mut Contents, kind: ObjectKind, id: Id, bytes: Vec<u8>) {
    contents.add_provisional(kind, id, bytes.len() as u64);
    sink.upload(kind, id, bytes, true);
}
