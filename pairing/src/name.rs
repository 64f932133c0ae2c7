//! The name of a laptop or hub, as it stands in lists, tags and folder names.

use std::fmt;

/// Longest name: that of a host (RFC 1035, 2.3.4).
pub const NAME_SIZE_BYTES_MAX: usize = 63;

/// A name of 1 to [`NAME_SIZE_BYTES_MAX`] characters out of `[A-Za-z0-9._-]`, never `.` or `..`: it is safe as a file
/// name, in a tag and on a terminal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Takes a name that a peer or a file gave.
    ///
    /// # Errors
    /// [`NameError`] unless it is already in the reduced form.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fine = (1..=NAME_SIZE_BYTES_MAX).contains(&text.len())
            && text.chars().all(allowed)
            && text != "."
            && text != "..";
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }

    /// Makes a name of what a person or the system gave: other characters become `-`, the rest beyond the limit is cut
    /// off, and nothing usable becomes `unnamed`.
    #[must_use]
    pub fn reduce(text: &str) -> Self {
        let reduced: String = text
            .chars()
            .take(NAME_SIZE_BYTES_MAX)
            .map(|char| if allowed(char) { char } else { '-' })
            .collect();
        Self::parse(&reduced).unwrap_or_else(|NameError| Self("unnamed".to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn allowed(char: char) -> bool {
    matches!(char, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {NAME_SIZE_BYTES_MAX} characters out of A-Z, a-z, 0-9, '.', '_' and '-'")]
pub struct NameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_name_is_always_a_name() {
        for (given, reduced) in [
            ("desk", "desk"),
            ("Ada's laptop", "Ada-s-laptop"),
            ("", "unnamed"),
            ("..", "unnamed"),
            (".", "unnamed"),
            ("../etc", "..-etc"),
            ("büro", "b-ro"),
            ("a\u{1b}[2J", "a--2J"),
        ] {
            assert_eq!(Name::reduce(given).as_str(), reduced);
        }
        assert_eq!(Name::reduce(&"é".repeat(500)).as_str().len(), NAME_SIZE_BYTES_MAX);
    }

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for given in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a\n",
            "ä",
            &"a".repeat(NAME_SIZE_BYTES_MAX + 1),
        ] {
            assert_eq!(Name::parse(given), Err(NameError), "{given:?} was taken");
        }
    }
}
