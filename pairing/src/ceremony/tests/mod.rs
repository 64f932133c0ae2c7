//! The ceremony: what succeeds, and everything that is refused.

mod meeting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::message::check_certificate;
use super::*;
use crate::{CertificateError, Closed, GUESSES_MAX, Identity, Role, WINDOW_MAX};
use meeting::{Fate, Hub, Meeting, name};

const MESSAGES: usize = 7;

#[test]
fn a_laptop_with_the_code_and_the_hub_come_to_know_each_other() {
    let mut hub = Hub::new(1);
    let code = hub.code.clone();
    let outcome = hub.meet(&code);
    assert_eq!(outcome.sent.len(), MESSAGES);
    let (laptop, desk) = (outcome.hub.unwrap().unwrap(), outcome.laptop.unwrap().unwrap());
    assert_eq!((desk.role, desk.name.as_str()), (Role::Hub, "desk"));
    assert_eq!((laptop.role, laptop.name.as_str()), (Role::Laptop, "ada"));
    assert_eq!(
        (desk.device, desk.noise),
        (hub.identity.device(), hub.identity.noise())
    );
    assert_eq!(desk.beacon, Some(Hub::beacon()));
    assert_eq!(laptop.beacon, Some(Hub::beacon()));
    assert_eq!(
        (outcome.hub_stored, outcome.laptop_stored),
        (Some(laptop), Some(desk))
    );
    assert_eq!(hub.window.closed(hub.now), Some(Closed::Paired));
}

#[test]
fn one_window_pairs_one_laptop() {
    let mut hub = Hub::new(2);
    let code = hub.code.clone();
    assert!(hub.meet(&code).laptop.unwrap().is_ok());
    let second = hub.meet(&code);
    assert_eq!(second.hub, Some(Err(PairingError::Closed(Closed::Paired))));
    let error = second.laptop.unwrap().unwrap_err();
    assert!(error.advice().contains("berthctl pair"), "{error}");
}

#[test]
fn a_wrong_code_is_refused_on_both_sides_and_nobody_is_stored() {
    let mut hub = Hub::new(3);
    let outcome = hub.meet(&hub.wrong_code());
    let wrong = || Some(Err(PairingError::WrongCode { guesses_left: 2 }));
    assert_eq!((outcome.hub, outcome.laptop), (wrong(), wrong()));
    assert_eq!((outcome.hub_stored, outcome.laptop_stored), (None, None));
    let advice = PairingError::WrongCode { guesses_left: 2 }.advice();
    assert!(advice.contains("type it again"), "{advice}");
    let code = hub.code.clone();
    assert!(
        hub.meet(&code).laptop.unwrap().is_ok(),
        "the window closed after one wrong guess"
    );
}

#[test]
fn a_fourth_guess_is_refused_even_with_the_right_code() {
    let mut hub = Hub::new(4);
    for guesses_left in (0..GUESSES_MAX).rev() {
        let outcome = hub.meet(&hub.wrong_code());
        assert_eq!(
            outcome.laptop,
            Some(Err(PairingError::WrongCode { guesses_left }))
        );
    }
    assert_eq!(hub.window.next_at(), None, "the window is still open");
    let code = hub.code.clone();
    let outcome = hub.meet(&code);
    let used = || Some(Err(PairingError::Closed(Closed::GuessesUsed)));
    assert_eq!((outcome.hub, outcome.laptop), (used(), used()));
    let advice = PairingError::Closed(Closed::GuessesUsed).advice();
    assert!(
        advice.contains("`berthctl pair`") && advice.contains("new one"),
        "{advice}"
    );
}

#[test]
fn a_guess_is_used_when_the_hubs_message_leaves_even_if_the_peer_then_goes_away() {
    let mut hub = Hub::new(5);
    let code = hub.code.clone();
    for guesses_left in (0..GUESSES_MAX).rev() {
        let outcome = hub.meet_with(
            &code,
            Fate {
                cut_at: Some(2),
                ..Fate::default()
            },
        );
        assert_eq!(outcome.hub, Some(Err(PairingError::Lost)));
        assert_eq!(hub.window.guesses_left(), guesses_left);
    }
    assert_eq!(hub.window.closed(hub.now), Some(Closed::GuessesUsed));
    assert!(hub.meet(&code).laptop.unwrap().is_err());
}

#[test]
fn no_guess_is_used_by_what_the_hub_does_not_answer() {
    let mut hub = Hub::new(6);
    for nonsense in [
        &b""[..],
        b"\x02",
        b"\x02\x01",
        &[2; 35],
        &[0xff; 35],
        &[2, 2, 65],
        b"\x03abc",
        b"\x1f\x01\x02",
    ] {
        let mut connection = hub.connection();
        let out = hub.hear(&mut connection, Input::Message(Bytes::copy_from_slice(nonsense)));
        assert!(
            matches!(out[..], [Effect::Send(_), Effect::Failed(_)]),
            "{nonsense:?} got {out:?}"
        );
    }
    assert_eq!(hub.window.guesses_left(), GUESSES_MAX);
}

#[test]
fn at_most_three_ceremonies_hold_a_guess_at_once() {
    let mut hub = Hub::new(7);
    let code = hub.code.clone();
    let mut connections = Vec::new();
    for place in 0..5 {
        let mut meeting = Meeting::begin(&mut hub, &code);
        let (_, Effect::Send(hello)) = meeting.queue.pop_front().unwrap() else {
            panic!("a laptop begins with its hello");
        };
        meeting.tell(&mut hub, Role::Hub, Input::Message(hello));
        let is_answered = matches!(meeting.queue[0].1, Effect::Send(ref message) if message[0] == 0x12);
        assert_eq!(is_answered, place < usize::from(GUESSES_MAX));
        connections.push(meeting);
    }
    // The third guess was the right one: its ceremony goes on.
    let mut third = connections.swap_remove(2);
    while let Some((from, effect)) = third.queue.pop_front() {
        third.perform(&mut hub, Fate::default(), from, effect);
    }
    assert!(third.outcome.laptop.unwrap().is_ok());
    // The others were under way with the right code too, but the window is closed now.
    let mut first = connections.swap_remove(0);
    while let Some((from, effect)) = first.queue.pop_front() {
        first.perform(&mut hub, Fate::default(), from, effect);
    }
    assert_eq!(first.outcome.hub, Some(Err(PairingError::Closed(Closed::Paired))));
}

#[test]
fn an_expired_window_is_refused_before_and_within_a_ceremony() {
    let expired = || Some(Err(PairingError::Closed(Closed::Expired)));
    let mut hub = Hub::new(8);
    let code = hub.code.clone();
    assert_eq!(hub.window.next_at(), Some(hub.now + WINDOW_MAX));
    hub.now += WINDOW_MAX;
    let outcome = hub.meet(&code);
    assert_eq!((outcome.hub, outcome.laptop), (expired(), expired()));
    let advice = PairingError::Closed(Closed::Expired).advice();
    assert!(
        advice.contains("two minutes") && advice.contains("`berthctl pair`"),
        "{advice}"
    );

    for steps in [2, 4] {
        let mut hub = Hub::new(9);
        let code = hub.code.clone();
        hub.now += WINDOW_MAX - Duration::from_millis(1);
        let mut meeting = Meeting::begin(&mut hub, &code);
        for _ in 0..steps {
            let (from, effect) = meeting.queue.pop_front().unwrap();
            meeting.perform(&mut hub, Fate::default(), from, effect);
        }
        hub.now += Duration::from_millis(1);
        while let Some((from, effect)) = meeting.queue.pop_front() {
            meeting.perform(&mut hub, Fate::default(), from, effect);
        }
        assert_eq!(
            (meeting.outcome.hub, meeting.outcome.laptop),
            (expired(), expired())
        );
        assert_eq!(
            (meeting.outcome.hub_stored, meeting.outcome.laptop_stored),
            (None, None)
        );
    }
}

#[test]
fn a_ceremony_does_not_go_on_in_a_later_window() {
    let mut hub = Hub::new(10);
    let code = hub.code.clone();
    let mut meeting = Meeting::begin(&mut hub, &code);
    for _ in 0..2 {
        let (from, effect) = meeting.queue.pop_front().unwrap();
        meeting.perform(&mut hub, Fate::default(), from, effect);
    }
    hub.window.open(hub.now, &mut hub.rng);
    while let Some((from, effect)) = meeting.queue.pop_front() {
        meeting.perform(&mut hub, Fate::default(), from, effect);
    }
    assert_eq!(
        meeting.outcome.hub,
        Some(Err(PairingError::Closed(Closed::ByHand)))
    );
    assert_eq!(
        hub.window.guesses_left(),
        GUESSES_MAX,
        "the old ceremony touched the new window"
    );
}

#[test]
fn a_foreign_hub_that_does_not_know_the_code_is_refused() {
    let (mut ours, mut foreign) = (Hub::new(11), Hub::new(12));
    let code = ours.code.clone();
    let identity = Arc::new(Identity::generate(&mut ours.rng));
    let mut out = Vec::new();
    let mut laptop = LaptopPairing::begin(identity, name("ada"), &code, ours.now, &mut ours.rng, &mut out);
    let Effect::Send(hello) = out.remove(0) else {
        panic!("a laptop begins with its hello");
    };
    let mut connection = foreign.connection();
    let Some(Effect::Send(answer)) = foreign.hear(&mut connection, Input::Message(hello)).pop() else {
        panic!("a hub answers a hello");
    };
    laptop.handle(ours.now, Input::Message(answer), &mut ours.rng, &mut out);
    out.clear();
    // Whatever it says next, it has no key for it.
    let said = Bytes::from([&[3][..], &[7; 300]].concat());
    laptop.handle(ours.now, Input::Message(said), &mut ours.rng, &mut out);
    let [Effect::Failed(error @ PairingError::ForeignHub)] = &out[..] else {
        panic!("the laptop went on: {out:?}");
    };
    assert!(error.advice().contains("Another hub"), "{}", error.advice());
}

#[test]
fn a_laptop_believes_in_a_pairing_only_if_the_hub_stored_it_wherever_the_connection_breaks() {
    for cut_at in 0..MESSAGES {
        let mut hub = Hub::new(13);
        let code = hub.code.clone();
        let fate = Fate {
            cut_at: Some(cut_at),
            ..Fate::default()
        };
        let outcome = hub.meet_with(&code, fate);
        let (hub_says, laptop_says) = (outcome.hub.unwrap(), outcome.laptop.unwrap());
        assert!(
            hub_says.is_err(),
            "cut at {cut_at}: the hub reports a pairing that was not confirmed"
        );
        assert!(
            laptop_says.is_err() || outcome.hub_stored.is_some(),
            "cut at {cut_at}"
        );
        assert_eq!(laptop_says.is_ok(), cut_at == MESSAGES - 1);
        if outcome.hub_stored.is_some() {
            assert_eq!(hub_says, Err(PairingError::Unconfirmed));
        }
    }
}

#[test]
fn whatever_comes_in_place_of_the_last_message_the_hub_says_that_the_laptop_is_stored() {
    for nonsense in [&b""[..], b"\xff", b"\x04", b"\x04not sealed", b"\x1f\x01\x02"] {
        let mut hub = Hub::new(16);
        let code = hub.code.clone();
        let mut meeting = Meeting::begin(&mut hub, &code);
        while meeting.outcome.hub_stored.is_none() {
            let (from, effect) = meeting.queue.pop_front().unwrap();
            meeting.perform(&mut hub, Fate::default(), from, effect);
        }
        let said = hub.hear(&mut meeting.hub, Input::Message(Bytes::copy_from_slice(nonsense)));
        assert!(
            matches!(said[..], [_, Effect::Failed(PairingError::Unconfirmed)]),
            "{nonsense:?} got {said:?}"
        );
    }
}

#[test]
fn a_side_that_cannot_store_ends_the_pairing_for_both() {
    let mut hub = Hub::new(14);
    let code = hub.code.clone();
    let outcome = hub.meet_with(
        &code,
        Fate {
            hub_cannot_store: true,
            ..Fate::default()
        },
    );
    assert_eq!(outcome.hub, Some(Err(PairingError::NotStored)));
    assert_eq!(outcome.laptop, Some(Err(PairingError::HubNotStored)));
    assert_eq!(outcome.laptop_stored, None);

    let mut hub = Hub::new(15);
    let code = hub.code.clone();
    let outcome = hub.meet_with(
        &code,
        Fate {
            laptop_cannot_store: true,
            ..Fate::default()
        },
    );
    assert_eq!(outcome.laptop, Some(Err(PairingError::NotStored)));
    assert_eq!(outcome.hub, Some(Err(PairingError::Unconfirmed)));
}

#[test]
fn silence_ends_a_ceremony_on_both_sides() {
    let mut hub = Hub::new(16);
    let code = hub.code.clone();
    let mut meeting = Meeting::begin(&mut hub, &code);
    for _ in 0..2 {
        let (from, effect) = meeting.queue.pop_front().unwrap();
        meeting.perform(&mut hub, Fate::default(), from, effect);
    }
    meeting.queue.clear();
    assert_eq!(meeting.hub.next_at(), Some(hub.now + PAIRING_STEP_MAX));
    assert_eq!(meeting.laptop.next_at(), Some(hub.now + PAIRING_STEP_MAX));
    hub.now += PAIRING_STEP_MAX - Duration::from_millis(1);
    meeting.tell(&mut hub, Role::Hub, Input::Tick);
    meeting.tell(&mut hub, Role::Laptop, Input::Tick);
    assert!(meeting.queue.is_empty(), "a tick before its time");
    hub.now += Duration::from_millis(1);
    meeting.tell(&mut hub, Role::Laptop, Input::Tick);
    let front = meeting.queue.front();
    assert!(matches!(
        front,
        Some((Role::Laptop, Effect::Failed(PairingError::Silent)))
    ));
    meeting.tell(&mut hub, Role::Hub, Input::Tick);
    let back = meeting.queue.back();
    assert!(matches!(
        back,
        Some((Role::Hub, Effect::Failed(PairingError::Silent)))
    ));
    assert_eq!((meeting.hub.next_at(), meeting.laptop.next_at()), (None, None));
}

#[test]
fn a_certificate_of_the_wrong_role_of_another_key_or_our_own_is_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(17);
    let (ours, theirs) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    let check = |identity: &Identity, role, used| {
        check_certificate(
            &identity.certificate(role, &name("x")).to_bytes(),
            Role::Hub,
            used,
            &ours,
        )
        .map(|_| ())
    };
    assert_eq!(check(&theirs, Role::Hub, Some(theirs.noise())), Ok(()));
    assert_eq!(
        check(&theirs, Role::Laptop, Some(theirs.noise())),
        Err(PairingError::WrongRole)
    );
    assert_eq!(
        check(&theirs, Role::Hub, Some(ours.noise())),
        Err(PairingError::OtherKey)
    );
    assert_eq!(check(&theirs, Role::Hub, None), Err(PairingError::OtherKey));
    assert_eq!(
        check(&ours, Role::Hub, Some(ours.noise())),
        Err(PairingError::OtherKey)
    );
    assert_eq!(
        check_certificate(b"x", Role::Hub, None, &ours),
        Err(PairingError::Certificate(CertificateError::Version {
            version: b'x'
        }))
    );
}

#[test]
fn the_same_seed_pairs_with_the_same_bytes() {
    let sent = |seed| {
        let mut hub = Hub::new(seed);
        let code = hub.code.clone();
        hub.meet(&code).sent
    };
    assert_eq!(sent(18), sent(18));
    assert_ne!(sent(18), sent(19));
}

#[test]
fn neither_the_code_nor_a_name_travels_in_the_clear() {
    let mut hub = Hub::new(20);
    let code = hub.code.clone();
    let sent = hub.meet(&code).sent.concat();
    let device = hub.identity.device();
    for secret in [
        code.digits(),
        &b"ada\0"[..3],
        b"desk",
        &device.0,
        &hub.identity.noise().0,
    ] {
        assert!(!sent.windows(secret.len()).any(|window| window == secret));
    }
}

proptest! {
    /// One message of a good ceremony, changed: the pairing fails or the change did not matter to it, and nobody believes
    /// in a pairing that the other side has not stored.
    #[test]
    fn a_changed_message_never_pairs(at in 0..MESSAGES, place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut hub = Hub::new(21);
        let code = hub.code.clone();
        let mut meeting = Meeting::begin(&mut hub, &code);
        while let Some((from, effect)) = meeting.queue.pop_front() {
            let effect = match effect {
                Effect::Send(message) if meeting.outcome.sent.len() == at => {
                    let mut changed = message.to_vec();
                    changed[place.index(message.len())] ^= 1 << bit;
                    Effect::Send(changed.into())
                }
                effect => effect,
            };
            meeting.perform(&mut hub, Fate::default(), from, effect);
            if meeting.queue.is_empty() && !meeting.is_closed && meeting.has_ended() {
                meeting.close(&mut hub);
            }
        }
        let (hub_says, laptop_says) = (meeting.outcome.hub.unwrap(), meeting.outcome.laptop.unwrap());
        prop_assert!(hub_says.is_err());
        prop_assert_eq!(laptop_says.is_ok(), at == MESSAGES - 1);
    }

    #[test]
    fn nonsense_at_any_step_is_refused_without_harm(
        steps in 0..MESSAGES,
        to_hub in any::<bool>(),
        nonsense in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut hub = Hub::new(22);
        let code = hub.code.clone();
        let mut meeting = Meeting::begin(&mut hub, &code);
        for _ in 0..steps {
            let Some((from, effect)) = meeting.queue.pop_front() else { break };
            meeting.perform(&mut hub, Fate::default(), from, effect);
        }
        let whom = if to_hub { Role::Hub } else { Role::Laptop };
        meeting.queue.clear();
        meeting.tell(&mut hub, whom, Input::Message(nonsense.into()));
        prop_assert!(meeting.queue.iter().all(|(_, effect)| !matches!(effect, Effect::Paired(_) | Effect::Store(_))));
    }
}
