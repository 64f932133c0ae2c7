//! How long a visit took to its first acknowledged byte, step by step.
//!
//! Place: whoever watches [`crate::drive()`] notes each step as it is reached; kept with the visit, for people.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is reached one after the other. Without radio, only the last two are; over a network that both are on, all but
/// the group and joining it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisitStep {
    /// A hub's beacon is heard and recognised.
    Found,
    /// Bluetooth is connected.
    Connected,
    /// Both sides have proved who they are.
    Handshake,
    /// The hub's group is up, and the laptop knows how to join it.
    Group,
    /// The laptop is in it.
    Joined,
    /// The bulk link is secured.
    Link,
    /// The hub has acknowledged the first bytes of files.
    FirstByte,
}

impl VisitStep {
    const fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Connected => "connected",
            Self::Handshake => "handshake",
            Self::Group => "group",
            Self::Joined => "joined",
            Self::Link => "link",
            Self::FirstByte => "first_byte",
        }
    }
}

/// When which step was reached, in milliseconds since the session began. Of several attempts, those of the last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps(Vec<(VisitStep, u64)>);

impl Steps {
    /// Notes a step, the first time that it is told.
    pub fn reached(&mut self, step: VisitStep, after: Duration) {
        if let Some((last, _)) = self.0.last()
            && step <= *last
        {
            let is_anew = step == VisitStep::Found && *last != VisitStep::Found;
            if !is_anew {
                return;
            }
            self.0.clear();
        }
        self.0
            .push((step, u64::try_from(after.as_millis()).unwrap_or(u64::MAX)));
    }

    /// Hub and laptop met by Bluetooth, and the link came over a network that both were on already.
    #[must_use]
    pub fn needed_no_group(&self) -> bool {
        let has = |step| self.0.iter().any(|(reached, _)| *reached == step);
        has(VisitStep::Found) && has(VisitStep::Link) && !has(VisitStep::Group)
    }

    /// For a person: how long each took that was reached.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut before_ms = 0;
        for (step, at_ms) in &self.0 {
            let tenths = (at_ms.saturating_sub(before_ms) + 50) / 100;
            let name = step.name().replace('_', " ");
            words.push(format!("{name} {}.{} s", tenths / 10, tenths % 10));
            before_ms = *at_ms;
        }
        words
    }

    /// For scripts: `{"found_ms": 400, ...}`, each since the session began.
    #[must_use]
    pub fn json(&self) -> Value {
        let steps = self.0.iter();
        steps
            .map(|(step, at_ms)| (format!("{}_ms", step.name()), Value::from(*at_ms)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(reached: &[(VisitStep, u64)]) -> Steps {
        let mut steps = Steps::default();
        for (step, after_ms) in reached {
            steps.reached(*step, Duration::from_millis(*after_ms));
        }
        steps
    }

    #[test]
    fn a_visit_needed_no_group_if_it_began_in_the_air_and_got_its_link_without_one() {
        let (found, group, link) = (VisitStep::Found, VisitStep::Group, VisitStep::Link);
        assert!(steps(&[(found, 1), (link, 2)]).needed_no_group());
        assert!(!steps(&[(found, 1), (group, 2), (link, 3)]).needed_no_group());
        assert!(!steps(&[(found, 1)]).needed_no_group());
        assert!(!steps(&[(link, 1)]).needed_no_group());
    }

    #[test]
    fn each_step_counts_when_it_is_first_reached() {
        let steps = steps(&[
            (VisitStep::Found, 400),
            (VisitStep::Found, 450),
            (VisitStep::Connected, 700),
            (VisitStep::Link, 2_650),
            (VisitStep::FirstByte, 2_999),
            (VisitStep::Link, 9_000),
        ]);
        assert_eq!(
            steps.words(),
            ["found 0.4 s", "connected 0.3 s", "link 2.0 s", "first byte 0.3 s"]
        );
        assert_eq!(steps.json()["link_ms"], 2_650);
        assert_eq!(steps.json()["joined_ms"], Value::Null);
    }

    #[test]
    fn an_attempt_that_failed_is_forgotten_when_the_next_finds_a_hub() {
        let steps = steps(&[
            (VisitStep::Found, 1),
            (VisitStep::Connected, 2),
            (VisitStep::Found, 7_000),
        ]);
        assert_eq!(steps.words(), ["found 7.0 s"]);
    }
}
