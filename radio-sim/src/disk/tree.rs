//! Folders: the names as programs see them, the names that would be left, and the changes in between.
//!
//! The model: a change of a name is durable after a sync of its folder; before, it may be there or not, in any order
//! between folders. One rename within a folder happens in whole or not at all. A rename between folders may leave
//! both names until both are synced, but no file loses its last name by a rename, and a replaced target is the old
//! file or the new one (as ext4, XFS and btrfs behave; POSIX promises less).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use super::file::FileRef;
use crate::chance::{Chance, PPM};

/// Changes that wait for a sync. Beyond it the disk writes the oldest back by itself, as kernels do after a while.
const CHANGES_MAX: usize = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FolderId(u64);

pub(super) const ROOT: FolderId = FolderId(0);

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileRef),
    Folder(FolderId),
}

impl Node {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(two)) => one.same(two),
            (Self::Folder(one), Self::Folder(two)) => one == two,
            (Self::File(_), Self::Folder(_)) | (Self::Folder(_), Self::File(_)) => false,
        }
    }
}

type Names = BTreeMap<String, Node>;

#[derive(Debug, Default)]
struct Folder {
    seen: Names,
    durable: Names,
}

/// An entry of a folder.
type Place = (FolderId, String);

#[derive(Debug)]
enum Change {
    Add {
        at: Place,
        node: Node,
    },
    Drop {
        at: Place,
        node: Node,
    },
    Move {
        from: Place,
        to: Place,
        node: Node,
        from_synced: bool,
    },
}

#[derive(Debug)]
pub(super) struct Tree {
    folders: BTreeMap<FolderId, Folder>,
    next_folder: u64,
    changes: VecDeque<Change>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let folders = BTreeMap::from([(ROOT, Folder::default())]);
        Self {
            folders,
            next_folder: 1,
            changes: VecDeque::new(),
        }
    }

    pub(super) fn node(&self, path: &str) -> Option<Node> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .try_fold(Node::Folder(ROOT), |at, part| match at {
                Node::File(_) => None,
                Node::Folder(id) => self.folders.get(&id)?.seen.get(part).cloned(),
            })
    }

    pub(super) fn file(&self, path: &str) -> io::Result<FileRef> {
        match self.node(path) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn folder(&self, path: &str) -> io::Result<FolderId> {
        match self.node(path) {
            Some(Node::Folder(id)) => Ok(id),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The entry that `path` names; its folder must be there.
    fn place(&self, path: &str) -> io::Result<Place> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok((self.folder(above)?, name.to_owned()))
    }

    pub(super) fn names(&self, folder: FolderId) -> Vec<String> {
        self.folders
            .get(&folder)
            .map(|it| it.seen.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<FileRef> {
        let at = self.place(path)?;
        if self.node(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = FileRef::new();
        self.add(at, Node::File(file.clone()));
        Ok(file)
    }

    pub(super) fn create_folders(&mut self, path: &str) -> io::Result<()> {
        let mut above = ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            above = match self.folders.get(&above).and_then(|it| it.seen.get(part)) {
                Some(Node::Folder(id)) => *id,
                Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    let id = FolderId(self.next_folder);
                    self.next_folder += 1;
                    self.folders.insert(id, Folder::default());
                    self.add((above, part.to_owned()), Node::Folder(id));
                    id
                }
            };
        }
        Ok(())
    }

    fn add(&mut self, at: Place, node: Node) {
        if let Some(folder) = self.folders.get_mut(&at.0) {
            folder.seen.insert(at.1.clone(), node.clone());
        }
        self.log(Change::Add { at, node });
    }

    /// Removes a file's name; the file itself.
    pub(super) fn remove(&mut self, path: &str) -> io::Result<FileRef> {
        let file = self.file(path)?;
        self.drop_name(self.place(path)?, Node::File(file.clone()));
        Ok(file)
    }

    fn drop_name(&mut self, at: Place, node: Node) {
        if let Some(folder) = self.folders.get_mut(&at.0) {
            folder.seen.remove(&at.1);
        }
        self.log(Change::Drop { at, node });
    }

    /// Removes a folder and all below it, the innermost first; the files that were in it.
    pub(super) fn remove_folder(&mut self, path: &str) -> io::Result<Vec<FileRef>> {
        let id = self.folder(path)?;
        let at = self.place(path)?;
        let mut files = Vec::new();
        self.empty(id, &mut files);
        self.drop_name(at, Node::Folder(id));
        Ok(files)
    }

    fn empty(&mut self, id: FolderId, files: &mut Vec<FileRef>) {
        let entries: Vec<_> = self
            .folders
            .get(&id)
            .into_iter()
            .flat_map(|it| it.seen.clone())
            .collect();
        for (name, node) in entries {
            match &node {
                Node::File(file) => files.push(file.clone()),
                Node::Folder(below) => self.empty(*below, files),
            }
            self.drop_name((id, name), node);
        }
    }

    /// Renames; the file that was replaced.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<Option<FileRef>> {
        let node = self.node(from).ok_or(io::ErrorKind::NotFound)?;
        let (from_at, to_at) = (self.place(from)?, self.place(to)?);
        let target = self.node(to);
        if target.as_ref().is_some_and(|target| target.same(&node)) {
            return Ok(None);
        }
        let replaced = match (&node, target) {
            (_, None) => None,
            (Node::File(_), Some(Node::File(old))) => Some(old),
            (Node::File(_), Some(Node::Folder(_))) => return Err(io::ErrorKind::IsADirectory.into()),
            (Node::Folder(_), Some(Node::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
            (Node::Folder(_), Some(Node::Folder(_))) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
        };
        if matches!(node, Node::Folder(_)) && to.starts_with(&format!("{from}/")) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(folder) = self.folders.get_mut(&from_at.0) {
            folder.seen.remove(&from_at.1);
        }
        if let Some(folder) = self.folders.get_mut(&to_at.0) {
            folder.seen.insert(to_at.1.clone(), node.clone());
        }
        self.log(Change::Move {
            from: from_at,
            to: to_at,
            node,
            from_synced: false,
        });
        Ok(replaced)
    }

    fn log(&mut self, change: Change) {
        self.changes.push_back(change);
        while self.changes.len() > CHANGES_MAX {
            if let Some(oldest) = self.changes.pop_front() {
                self.settle(oldest, &mut VecDeque::new());
            }
        }
    }

    /// The folder's names become durable.
    pub(super) fn sync(&mut self, id: FolderId) {
        let mut kept = VecDeque::new();
        for change in std::mem::take(&mut self.changes) {
            match change {
                Change::Add { ref at, .. } | Change::Drop { ref at, .. } if at.0 == id => {
                    self.settle(change, &mut kept);
                }
                Change::Move { ref from, ref to, .. } if from.0 == id && to.0 == id => {
                    self.settle(change, &mut kept);
                }
                Change::Move {
                    from,
                    to,
                    node,
                    from_synced,
                } if to.0 == id => {
                    self.settle_move(from, to, node, from_synced, &mut kept);
                }
                Change::Move { from, to, node, .. } if from.0 == id => {
                    kept.push_back(Change::Move {
                        from,
                        to,
                        node,
                        from_synced: true,
                    });
                }
                other @ (Change::Add { .. } | Change::Drop { .. } | Change::Move { .. }) => {
                    kept.push_back(other)
                }
            }
        }
        self.changes = kept;
    }

    /// The new name of a move is durable; the old one goes with it or stays until its folder is synced.
    fn settle_move(&mut self, from: Place, to: Place, node: Node, whole: bool, kept: &mut VecDeque<Change>) {
        self.settle(
            Change::Add {
                at: to,
                node: node.clone(),
            },
            kept,
        );
        let drop_old = Change::Drop { at: from, node };
        if whole {
            self.settle(drop_old, kept)
        } else {
            kept.push_back(drop_old)
        }
    }

    /// Makes one change durable. `kept`: older changes that are not; those moves that would lose a file are made too.
    fn settle(&mut self, change: Change, kept: &mut VecDeque<Change>) {
        match change {
            Change::Add { at, node } => {
                self.rescue(kept, |from| *from == at);
                if let Some(folder) = self.folders.get_mut(&at.0) {
                    folder.durable.insert(at.1, node);
                }
            }
            Change::Drop { at, node } => {
                if let Node::Folder(id) = &node {
                    let below = self.folders_below(*id);
                    self.rescue(kept, |from| below.contains(&from.0));
                }
                let names = self.folders.get_mut(&at.0).map(|it| &mut it.durable);
                if let Some(names) = names.filter(|it| it.get(&at.1).is_some_and(|old| old.same(&node))) {
                    names.remove(&at.1);
                }
            }
            Change::Move { from, to, node, .. } => self.settle_move(from, to, node, true, kept),
        }
    }

    fn rescue(&mut self, kept: &mut VecDeque<Change>, loses: impl Fn(&Place) -> bool) {
        let (mut rest, mut moves) = (VecDeque::new(), Vec::new());
        for change in kept.drain(..) {
            match change {
                Change::Move { from, to, node, .. } if loses(&from) => moves.push((to, node)),
                other @ (Change::Add { .. } | Change::Drop { .. } | Change::Move { .. }) => {
                    rest.push_back(other)
                }
            }
        }
        *kept = rest;
        for (to, node) in moves {
            if let Some(folder) = self.folders.get_mut(&to.0) {
                folder.durable.insert(to.1, node);
            }
        }
    }

    fn folders_below(&self, id: FolderId) -> BTreeSet<FolderId> {
        let (mut found, mut next) = (BTreeSet::new(), vec![id]);
        while let Some(id) = next.pop() {
            if found.insert(id)
                && let Some(folder) = self.folders.get(&id)
            {
                let nodes = folder.durable.values().chain(folder.seen.values());
                next.extend(nodes.filter_map(|node| match node {
                    Node::Folder(id) => Some(*id),
                    Node::File(_) => None,
                }));
            }
        }
        found
    }

    /// The power goes: only durable names are left.
    pub(super) fn lose_all(&mut self) {
        self.changes.clear();
        self.see_durable();
    }

    /// The power goes: of the changes not synced a prefix is left (a journal), or any of them (no order at all).
    pub(super) fn lose_some(&mut self, chance: &mut Chance) {
        let changes = std::mem::take(&mut self.changes);
        let journalled = chance.happens(PPM / 2);
        let prefix = chance.below(changes.len() as u64 + 1);
        let mut kept = VecDeque::new();
        for (number, change) in changes.into_iter().enumerate() {
            let (any, both) = (chance.happens(PPM / 2), chance.happens(PPM / 2));
            let stays = if journalled { (number as u64) < prefix } else { any };
            match change {
                Change::Move { from, to, node, .. } if stays && from.0 != to.0 && !journalled => {
                    self.settle_move(from, to, node, both, &mut kept);
                }
                change if stays => self.settle(change, &mut kept),
                change => kept.push_back(change),
            }
        }
        self.see_durable();
    }

    /// The power goes, and the disk had written everything back in time.
    pub(super) fn keep_all(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            self.settle(change, &mut VecDeque::new());
        }
        self.see_durable();
    }

    fn see_durable(&mut self) {
        for folder in self.folders.values_mut() {
            folder.seen.clone_from(&folder.durable);
        }
        let reached = self.folders_below(ROOT);
        self.folders.retain(|id, _| reached.contains(id));
    }

    /// Every file with a name, by path.
    pub(super) fn files(&self) -> Vec<(String, FileRef)> {
        let (mut files, mut next) = (Vec::new(), vec![(String::new(), ROOT)]);
        while let Some((path, id)) = next.pop() {
            for (name, node) in self.folders.get(&id).into_iter().flat_map(|it| &it.seen) {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}/{name}")
                };
                match node {
                    Node::File(file) => files.push((path, file.clone())),
                    Node::Folder(below) => next.push((path, *below)),
                }
            }
        }
        files.sort_by(|one, two| one.0.cmp(&two.0));
        files
    }
}
