//! What forwarding asks of an upstream: a place that holds restic repositories.
//!
//! Place: [`crate::Forwarder`] -> [`Upstream`]; [`crate::FolderUpstream`] is one in a folder.
//! Invariant: an object is durable under its name, whole, when [`Upstream::write`] returns; nothing is ever replaced or
//! removed.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use berth_pairing::Name;
use berth_repository::Id;
use berth_wire::ObjectKind;
use bytes::Bytes;

use crate::size_bytes_max;

/// One laptop's repository at an upstream. Kinds are those of restic: never `Page`.
pub trait Upstream: Send {
    /// Makes the place ready for objects: restic's folders, where there are folders. Done before the first write, and
    /// harmless when it was done before.
    ///
    /// # Errors
    /// [`UpstreamError`].
    fn prepare(&mut self) -> Result<(), UpstreamError>;

    /// The `config` file, if there is one.
    ///
    /// # Errors
    /// [`UpstreamError`].
    fn config(&mut self) -> Result<Option<Vec<u8>>, UpstreamError>;

    /// Calls `each` with id and size in bytes of every object of a kind (not `Config`), in any order. Files that have
    /// no id for a name are passed over.
    ///
    /// # Errors
    /// [`UpstreamError`]; what `each` was called with until then does not count.
    fn list(&mut self, kind: ObjectKind, each: &mut dyn FnMut(Id, u64)) -> Result<(), UpstreamError>;

    /// The locks that are there.
    ///
    /// # Errors
    /// [`UpstreamError`].
    fn locks(&mut self) -> Result<Vec<Lock>, UpstreamError>;

    /// Writes one object of `length` bytes. It is there, durable and whole, or not at all. Where the name is taken
    /// nothing is written: the caller looks at what is there.
    ///
    /// # Errors
    /// [`UpstreamError`]: it may or may not be there.
    fn write(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        length: u64,
        bytes: &mut dyn Read,
    ) -> Result<(), UpstreamError>;

    /// An object, or the bytes of it that `range` names: fewer where the object ends before, none where it begins beyond.
    /// `None` where there is no such object. What comes is not proven to be what was written.
    ///
    /// # Errors
    /// [`UpstreamError`]; a range that is empty, or longer than any object of its kind, and an object that is larger
    /// than any are [`io::ErrorKind::InvalidInput`] and [`io::ErrorKind::InvalidData`].
    fn read(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, UpstreamError>;

    /// SHA-256 of what lies under a name, where that can be had without moving it over a network; else `None`.
    ///
    /// # Errors
    /// [`UpstreamError`].
    fn digest(&mut self, kind: ObjectKind, id: &Id) -> Result<Option<Id>, UpstreamError>;
}

/// A range that [`Upstream::read`] may be asked for: not empty, and no longer than any object of its kind.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`].
pub fn check_range(kind: ObjectKind, range: Option<&Range<u64>>) -> Result<(), UpstreamError> {
    let is_fine = |range: &Range<u64>| !range.is_empty() && range.end - range.start <= size_bytes_max(kind);
    if range.is_none_or(is_fine) {
        return Ok(());
    }
    Err(UpstreamError::doing("reading a part of an object")(
        io::ErrorKind::InvalidInput.into(),
    ))
}

/// A lock of restic's at the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// When it was written, by the upstream's clock, nanoseconds since 1970.
    pub changed_at_ns: i64,
}

/// The upstream did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the upstream failed while {doing}")]
pub struct UpstreamError {
    /// What was under way.
    pub doing: &'static str,
    /// What came back.
    #[source]
    pub source: io::Error,
}

impl UpstreamError {
    /// For `map_err`.
    pub fn doing(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { doing, source }
    }
}

/// Under which of two names a laptop's repository lies at an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTaken {
    /// Both are taken by other repositories.
    pub names: [String; 2],
}

impl std::error::Error for NameTaken {}

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.names;
        write!(
            f,
            "the upstream holds other repositories in both {first} and {second}"
        )
    }
}

/// Chooses the folder of a laptop's repository at an upstream: where it is already, else its name, or, where that folder
/// holds another repository, `NAME-<8 hex of the repository id>`. `repository` is the SHA-256 of the laptop's `config`; `config_of` reads the
/// `config` of a folder, if it has one.
///
/// # Errors
/// Those of `config_of`, and `Ok(Err(NameTaken))` where the second name is taken too.
pub fn repository_name<E>(
    name: &Name,
    repository: &Id,
    mut config_of: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Result<String, NameTaken>, E> {
    // The Debug form of an id is its first 8 digits.
    let names = [name.to_string(), format!("{name}-{repository:?}")];
    let mut free = None;
    for name in &names {
        match config_of(name)? {
            Some(config) if Id::of(&config) == *repository => return Ok(Ok(name.clone())),
            Some(_) => {}
            None => free = free.or(Some(name)),
        }
    }
    let free = free.cloned();
    Ok(free.ok_or(NameTaken { names }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(taken: &[(&str, &[u8])]) -> Option<String> {
        let config = |name: &str| {
            let found = taken.iter().find(|(one, _)| *one == name);
            Ok::<_, ()>(found.map(|(_, config)| config.to_vec()))
        };
        repository_name(&Name::reduce("desk"), &Id::of(b"mine"), config)
            .unwrap()
            .ok()
    }

    #[test]
    fn a_repository_never_lies_in_anothers_folder() {
        let second = format!("desk-{}", &Id::of(b"mine").to_string()[..8]);
        assert_eq!(choose(&[]).unwrap(), "desk");
        assert_eq!(choose(&[("desk", b"mine")]).unwrap(), "desk");
        assert_eq!(choose(&[("desk", b"other")]).unwrap(), second);
        assert_eq!(choose(&[("desk", b"other"), (&second, b"third")]), None);
        // The other one's repository is gone: its own stays where it is.
        assert_eq!(choose(&[(&second, b"mine")]).unwrap(), second);
    }
}
