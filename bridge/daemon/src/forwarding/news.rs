//! What happens to sets on their way upstream, and who hears of it.

use std::collections::BTreeSet;
use std::time::Duration;

use berth_bridge::{ForwardError, LaptopId, StoreError};
use berth_wire::{SetRef, SetSeq};
use crossbeam_channel::Sender;

/// One thing that happened to somebody's sets.
#[derive(Debug, Clone)]
pub struct ForwardNews {
    /// Whose.
    pub laptop: LaptopId,
    /// What.
    pub what: Forwarded,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Forwarded {
    /// What of a set is to be sent is known.
    Begun {
        /// The set.
        set: SetSeq,
        /// Objects.
        objects: u64,
        /// Bytes of them.
        bytes: u64,
    },
    /// One object was sent.
    Sent {
        /// The set.
        set: SetSeq,
        /// Its bytes.
        bytes: u64,
    },
    /// Somebody works on the upstream; it goes on when they are done.
    Waiting {
        /// The set.
        set: SetSeq,
    },
    /// A set is upstream, checked.
    Set(SetRef),
    /// Nothing of this laptop waits any more.
    All,
    /// It stopped; the rest waits.
    Failed {
        /// Why.
        failure: ForwardFailure,
        /// It is not what it failed with before.
        is_news: bool,
    },
    /// The upstream takes something again, after it had taken nothing of anybody.
    Again {
        /// For how long.
        after: Duration,
    },
}

/// Why forwarding stopped, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ForwardFailure {
    /// One line: what happened and what to do.
    pub why: String,
    /// The upstream failed, not the hub: the other laptops may fail with it.
    pub is_upstream: bool,
}

impl From<&ForwardError> for ForwardFailure {
    fn from(error: &ForwardError) -> Self {
        let cause = match error {
            ForwardError::Upstream(error) => format!(" ({})", error.source),
            ForwardError::Spool(StoreError::Disk { source, .. }) => format!(" ({source})"),
            _ => String::new(),
        };
        Self {
            why: format!("{error}{cause}. {}", error.advice()),
            is_upstream: matches!(error, ForwardError::Upstream(_)),
        }
    }
}

/// Those who asked, until all they asked for is upstream or has failed.
#[derive(Default)]
pub(super) struct Watchers(Vec<Watcher>);

struct Watcher {
    laptops: BTreeSet<LaptopId>,
    news: Sender<ForwardNews>,
}

impl Watchers {
    /// Somebody asks for these laptops. With none of them the news end at once.
    pub(super) fn add(&mut self, laptops: BTreeSet<LaptopId>, news: Sender<ForwardNews>) {
        if !laptops.is_empty() {
            self.0.push(Watcher { laptops, news });
        }
    }

    /// Tells everybody; those who waited for this laptop, and no other, are done with its last word.
    pub(super) fn tell(&mut self, news: &ForwardNews) {
        let is_last = matches!(news.what, Forwarded::All | Forwarded::Failed { .. });
        self.0.retain_mut(|watcher| {
            if !watcher.laptops.contains(&news.laptop) {
                return true;
            }
            if is_last {
                watcher.laptops.remove(&news.laptop);
            }
            watcher.news.send(news.clone()).is_ok() && !watcher.laptops.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn whoever_asks_hears_of_those_they_asked_for_until_the_last_is_done() {
        let [first, second, other] = [1, 2, 3].map(|byte| LaptopId([byte; 32]));
        let (mut watchers, (news_in, news_out)) = (Watchers::default(), unbounded());
        watchers.add(BTreeSet::from([first, second]), news_in);
        let mut tell = |laptop, what| watchers.tell(&ForwardNews { laptop, what });
        tell(other, Forwarded::All);
        tell(first, Forwarded::Waiting { set: SetSeq(1) });
        tell(first, Forwarded::All);
        tell(first, Forwarded::All);
        let failure = ForwardFailure {
            why: "full".to_owned(),
            is_upstream: true,
        };
        let is_news = false;
        tell(second, Forwarded::Failed { failure, is_news });
        let heard: Vec<LaptopId> = news_out.iter().map(|news| news.laptop).collect();
        assert_eq!(heard, [first, first, second]);
    }
}
