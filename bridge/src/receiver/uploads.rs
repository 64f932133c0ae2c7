//! The open set: uploads, marks and salvage, each checked before the spool hears of it.

use std::collections::BTreeMap;

use berth_repository::Id;
use berth_wire::{Mark, OBJECT_SIZE_BYTES_MAX, OPEN_PACKS_MAX, ObjectKind, OpenPack, TAILS_MAX, UploadId};
use bytes::Bytes;

use super::{
    Effect, OpenSet, PACK_HEADER_SIZE_BYTES_MAX, Receiver, State, UPLOADS_MAX, UPLOADS_OPEN_MAX, Upload,
    size_bytes_max,
};
use crate::ended::{contradiction, limit, unexpected};
use crate::{Checkpoint, ReceiveError, StoreOp};

impl Receiver {
    pub(super) fn open_set(&mut self, created_at_ns: i64, out: &mut Vec<Effect>) -> Result<(), ReceiveError> {
        let State::Welcomed {
            set, fresh_config, ..
        } = self.state
        else {
            return Err(unexpected("OpenSet"));
        };
        out.push(Effect::Store(StoreOp::OpenSet { set, created_at_ns }));
        self.state = State::Open(OpenSet {
            set,
            fresh_config,
            uploads: BTreeMap::new(),
            next_number: 0,
            last_mark: Mark(0),
            mark_in_flight: false,
        });
        Ok(())
    }

    pub(super) fn salvage(
        &mut self,
        upload: UploadId,
        length: u64,
        digest: Id,
        header: Vec<u8>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ReceiveError> {
        let State::Welcomed { salvages, .. } = &mut self.state else {
            return Err(unexpected("Salvage"));
        };
        *salvages += 1;
        limit("salvages", *salvages as u64, TAILS_MAX as u64)?;
        // Without a header the tail is a whole pack with its own, which was closed before the cut.
        if !header.is_empty() || length == 0 {
            header_fits(&header, length)?;
        }
        let op = StoreOp::Salvage {
            upload,
            length,
            digest,
            header,
        };
        self.ask(op, out)
    }

    pub(super) fn open(
        &mut self,
        upload: UploadId,
        kind: ObjectKind,
        provisional: bool,
        out: &mut Vec<Effect>,
    ) -> Result<(), ReceiveError> {
        let set = self.set("Open")?;
        if upload.set != set.set || upload.number < set.next_number {
            return Err(ReceiveError::Upload { upload });
        }
        limit(
            "uploads in one visit",
            u64::from(upload.number) + 1,
            u64::from(UPLOADS_MAX),
        )?;
        let first_only = matches!(kind, ObjectKind::Key | ObjectKind::Config);
        if first_only && (set.fresh_config.is_none() || provisional) {
            return Err(unexpected("a key or config"));
        }
        limit(
            "open uploads",
            set.uploads.len() as u64 + 1,
            UPLOADS_OPEN_MAX as u64,
        )?;
        set.next_number = upload.number + 1;
        set.uploads.insert(
            upload.number,
            Upload {
                kind,
                provisional,
                received_bytes: 0,
            },
        );
        out.push(Effect::Store(StoreOp::Open {
            number: upload.number,
            kind,
            provisional,
        }));
        Ok(())
    }

    pub(super) fn data(
        &mut self,
        upload: UploadId,
        bytes: Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), ReceiveError> {
        let set = self.set("Data")?;
        let seq = set.set;
        let open = set
            .uploads
            .get_mut(&upload.number)
            .filter(|_| upload.set == seq && !bytes.is_empty())
            .ok_or(ReceiveError::Upload { upload })?;
        let received_bytes = open.received_bytes + bytes.len() as u64;
        limit("bytes in one object", received_bytes, size_bytes_max(open.kind))?;
        open.received_bytes = received_bytes;
        out.push(Effect::Store(StoreOp::Append {
            number: upload.number,
            bytes,
        }));
        Ok(())
    }

    pub(super) fn close(
        &mut self,
        upload: UploadId,
        id: Id,
        length: u64,
        out: &mut Vec<Effect>,
    ) -> Result<(), ReceiveError> {
        let set = self.set("Close")?;
        let open = set
            .uploads
            .remove(&upload.number)
            .filter(|_| upload.set == set.set)
            .ok_or(ReceiveError::Upload { upload })?;
        if open.received_bytes != length || length == 0 {
            return Err(contradiction("the length of an upload"));
        }
        if open.kind == ObjectKind::Config && set.fresh_config != Some(id) {
            return Err(contradiction("the id of the config"));
        }
        out.push(Effect::Store(StoreOp::Close {
            number: upload.number,
            id,
        }));
        Ok(())
    }

    pub(super) fn mark(
        &mut self,
        mark: Mark,
        checkpoint: Option<Checkpoint>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ReceiveError> {
        let set = self.set("a mark")?;
        if mark <= set.last_mark || set.mark_in_flight {
            return Err(contradiction("a mark"));
        }
        if let Some(checkpoint) = &checkpoint {
            set.check_open_packs(&checkpoint.open)?;
        }
        set.last_mark = mark;
        set.mark_in_flight = true;
        self.ask(StoreOp::Mark { mark, checkpoint }, out)
    }

    pub(super) fn set(&mut self, what: &'static str) -> Result<&mut OpenSet, ReceiveError> {
        if let State::Open(set) = &mut self.state {
            Ok(set)
        } else {
            Err(unexpected(what))
        }
    }
}

impl OpenSet {
    fn check_open_packs(&self, packs: &[OpenPack]) -> Result<(), ReceiveError> {
        limit(
            "open packs in a checkpoint",
            packs.len() as u64,
            OPEN_PACKS_MAX as u64,
        )?;
        for (at, pack) in packs.iter().enumerate() {
            let upload = pack.upload;
            let twice = packs.iter().take(at).any(|before| before.upload == upload);
            let open = self
                .uploads
                .get(&upload.number)
                .filter(|open| open.kind == ObjectKind::Pack && !open.provisional)
                .filter(|_| upload.set == self.set && !twice)
                .ok_or(ReceiveError::Upload { upload })?;
            if pack.length > open.received_bytes {
                return Err(contradiction("the length of an open pack"));
            }
            header_fits(&pack.header, pack.length)?;
        }
        Ok(())
    }
}

fn header_fits(header: &[u8], length: u64) -> Result<(), ReceiveError> {
    if header.is_empty() || length == 0 {
        return Err(contradiction("an empty pack"));
    }
    let header_bytes = header.len() as u64;
    limit(
        "bytes in a pack header",
        header_bytes,
        PACK_HEADER_SIZE_BYTES_MAX as u64,
    )?;
    limit(
        "bytes in one object",
        length.saturating_add(header_bytes),
        OBJECT_SIZE_BYTES_MAX,
    )
}
