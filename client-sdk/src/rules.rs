//! What is left out of a backup, ready to be asked entry by entry.

use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{Rules, VisitError};

/// The first bytes of a `CACHEDIR.TAG` (bford.info/cachedir).
pub(crate) const CACHE_MARK: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Name of the mark.
pub(crate) const CACHE_MARK_NAME: &[u8] = b"CACHEDIR.TAG";

impl Rules {
    /// Whether a visit can work with them.
    ///
    /// # Errors
    /// [`VisitError::Pattern`] names the first line that is none of a `.gitignore` file.
    pub fn check(&self) -> Result<(), VisitError> {
        Matcher::new(self).map(drop)
    }
}

/// [`Rules`], compiled.
pub(crate) struct Matcher {
    patterns: Gitignore,
    paths: Vec<PathBuf>,
    pub(crate) skip_caches: bool,
    pub(crate) one_file_system: bool,
}

impl Matcher {
    pub(crate) fn new(rules: &Rules) -> Result<Self, VisitError> {
        let mut builder = GitignoreBuilder::new("/");
        let wrong = |pattern: &str, error: ignore::Error| VisitError::Pattern {
            pattern: pattern.to_owned(),
            error: error.to_string(),
        };
        for pattern in &rules.patterns {
            builder
                .add_line(None, pattern)
                .map_err(|error| wrong(pattern, error))?;
        }
        Ok(Self {
            patterns: builder.build().map_err(|error| wrong("", error))?,
            paths: rules.paths.clone(),
            skip_caches: rules.skip_caches,
            one_file_system: rules.one_file_system,
        })
    }

    /// Left out by its path, whoever asked for it.
    pub(crate) fn forbids(&self, path: &Path) -> bool {
        self.paths.iter().any(|forbidden| forbidden == path)
    }

    /// Left out by a pattern.
    pub(crate) fn ignores(&self, path: &Path, is_folder: bool) -> bool {
        !self.patterns.is_empty() && self.patterns.matched(path, is_folder).is_ignore()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_work_as_in_a_gitignore_file_of_the_root() {
        let rules = Rules {
            patterns: [
                "*.o",
                "!keep.o",
                "/home/a/tmp/",
                "**/node_modules",
                "# a comment",
                "",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..Rules::default()
        };
        let matcher = Matcher::new(&rules).unwrap();
        for (path, is_folder, ignored) in [
            ("/x/a.o", false, true),
            ("/x/keep.o", false, false),
            ("/home/a/tmp", true, true),
            ("/home/a/tmp", false, false),
            ("/home/b/tmp", true, false),
            ("/home/b/node_modules", true, true),
        ] {
            assert_eq!(matcher.ignores(Path::new(path), is_folder), ignored, "{path}");
        }
    }
}
