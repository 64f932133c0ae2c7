//! The way from `/` to the roots.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, PathBuf};

/// What of a folder is looked at: all of it, or what leads to roots below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    whole: bool,
    below: BTreeMap<Vec<u8>, Plan>,
}

impl Plan {
    /// The way to all of `roots`, absolute paths; `.` and `..` in them are taken by the text.
    pub(crate) fn new(roots: &[PathBuf]) -> Self {
        let mut plan = Self::default();
        for root in roots {
            let mut names: Vec<&[u8]> = Vec::new();
            for component in root.components() {
                match component {
                    Component::Normal(name) => names.push(name.as_bytes()),
                    Component::ParentDir => drop(names.pop()),
                    Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                }
            }
            plan.add(&names);
        }
        plan
    }

    fn add(&mut self, names: &[&[u8]]) {
        match names.split_first() {
            _ if self.whole => {}
            None => {
                self.whole = true;
                self.below.clear();
            }
            Some((name, rest)) => self.below.entry(name.to_vec()).or_default().add(rest),
        }
    }

    /// A root: everything in it is looked at.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Names that lead to roots, ascending.
    pub(crate) fn names(&self) -> Vec<Vec<u8>> {
        self.below.keys().cloned().collect()
    }

    pub(crate) fn take(&mut self, name: &[u8]) -> Option<Self> {
        self.below.remove(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_inside_another_counts_once() {
        for roots in [["/a/b", "/a"], ["/a", "/a/b"], ["/a/./b", "/x/../a"]] {
            let mut plan = Plan::new(&roots.map(PathBuf::from));
            assert_eq!(plan.names(), [b"a"]);
            let below = plan.take(b"a").unwrap();
            assert!(below.is_whole() && below.names().is_empty());
        }
        assert!(Plan::new(&["/".into(), "/a".into()]).is_whole());
    }
}
