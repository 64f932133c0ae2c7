//! Sets on their way upstream.

use std::fs;
use std::io::Read;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use berth_bridge::{FolderUpstream, Journal, LaptopId, Lock, Spool, Upstream, UpstreamError};
use berth_daemon::{ByItself, Forwarded, Forwarding, ForwardingParts, LAPTOPS_AT_ONCE};
use berth_disk::OsDisk;
use berth_pairing::Identity;
use berth_repository::Id;
use berth_wire::ObjectKind;
use bytes::Bytes;
use rand_core::OsRng;
use serde_json::{Value, json};

use crate::spool::sealed_set;
use crate::support::{Hub, berthd, refused};

#[test]
fn what_waits_is_forwarded_at_the_next_start_to_a_folder_named_after_the_laptop() {
    let place = tempfile::tempdir().unwrap();
    let (state, up) = (place.path().join("hub"), place.path().join("up"));
    let sealed = sealed_set(&state);
    let hub = Hub::start(&state, &["--upstream", up.to_str().unwrap()]);
    hub.wait_for("forwarded");
    let repository = up.join(format!("laptop-{}", sealed.laptop));
    assert!(repository.join("snapshots").join(&sealed.snapshot).exists());
    assert!(hub.ask(&json!({ "do": "sets" }))[0]["forwarded_at"].is_string());
    hub.stop();
}

#[test]
fn two_laptops_of_one_name_get_a_repository_each() {
    let place = tempfile::tempdir().unwrap();
    let (state, up) = (place.path().join("hub"), place.path().join("up"));
    let sealed = sealed_set(&state);
    let taken = up.join(format!("laptop-{}", sealed.laptop));
    fs::create_dir_all(&taken).unwrap();
    fs::write(taken.join("config"), "another laptop's").unwrap();
    let hub = Hub::start(&state, &["--upstream", up.to_str().unwrap()]);
    hub.wait_for("forwarded");
    assert_eq!(
        fs::read_dir(&taken).unwrap().count(),
        1,
        "a repository was mixed with another"
    );
    assert_eq!(fs::read_dir(&up).unwrap().count(), 2);
    hub.stop();
}

/// A folder in which the first thing that is asked waits until that many laptops ask.
struct Meeting {
    folder: FolderUpstream,
    met: Arc<(Mutex<usize>, Condvar)>,
    asked: bool,
}

impl Upstream for Meeting {
    fn prepare(&mut self) -> Result<(), UpstreamError> {
        self.folder.prepare()
    }

    fn config(&mut self) -> Result<Option<Vec<u8>>, UpstreamError> {
        self.folder.config()
    }

    fn list(&mut self, kind: ObjectKind, each: &mut dyn FnMut(Id, u64)) -> Result<(), UpstreamError> {
        self.folder.list(kind, each)
    }

    fn locks(&mut self) -> Result<Vec<Lock>, UpstreamError> {
        if !std::mem::replace(&mut self.asked, true) {
            let (count, changed) = &*self.met;
            let mut count = count.lock().unwrap();
            *count += 1;
            changed.notify_all();
            let alone = |count: &mut usize| *count < LAPTOPS_AT_ONCE;
            let waited = changed.wait_timeout_while(count, Duration::from_secs(20), alone);
            if waited.unwrap().1.timed_out() {
                return Err(UpstreamError::doing("waiting for another laptop")(
                    std::io::ErrorKind::TimedOut.into(),
                ));
            }
        }
        self.folder.locks()
    }

    fn write(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        length: u64,
        bytes: &mut dyn Read,
    ) -> Result<(), UpstreamError> {
        self.folder.write(kind, id, length, bytes)
    }

    fn read(
        &mut self,
        kind: ObjectKind,
        id: &Id,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, UpstreamError> {
        self.folder.read(kind, id, range)
    }

    fn digest(&mut self, kind: ObjectKind, id: &Id) -> Result<Option<Id>, UpstreamError> {
        self.folder.digest(kind, id)
    }
}

fn spool(state: &Path) -> Arc<Spool> {
    let disk = Arc::new(OsDisk::open(state).unwrap());
    let hub = Arc::new(Identity::open_or_generate(&*disk, &mut OsRng).unwrap());
    let (journal, _) = Journal::open(state.join("journal"), None).unwrap();
    Spool::open(disk, journal, hub, 0).unwrap().0
}

#[test]
fn laptops_do_not_wait_for_each_other_and_a_stop_waits_for_nothing_more() {
    let place = tempfile::tempdir().unwrap();
    let (state, up) = (place.path().join("hub"), place.path().join("up"));
    fs::create_dir(&up).unwrap();
    for _ in 0..LAPTOPS_AT_ONCE {
        sealed_set(&state);
    }
    let met = Arc::default();
    let root = up.clone();
    let open = move |laptop: &LaptopId| {
        let folder = FolderUpstream::new(root.join(laptop.hex()), &[7; 32]);
        let met = Arc::clone(&met);
        let asked = false;
        Ok(Some(Box::new(Meeting { folder, met, asked }) as Box<dyn Upstream>))
    };
    let parts = ForwardingParts {
        spool: spool(&state),
        open: Arc::new(open),
        now: Arc::new(|| Duration::ZERO),
        rng: Box::new(OsRng),
        wall_ns: Arc::new(|| 1_700_000_000_000_000_000),
        by_itself: ByItself::Never,
        bytes_per_second: None,
    };
    let forwarding = Forwarding::start(parts, Box::new(|_| {}));
    let news: Vec<_> = forwarding.now(None).iter().collect();
    let of = |is: fn(&Forwarded) -> bool| news.iter().filter(|news| is(&news.what)).count();
    assert_eq!(of(|what| matches!(what, Forwarded::Failed { .. })), 0, "{news:?}");
    assert_eq!(of(|what| matches!(what, Forwarded::All)), LAPTOPS_AT_ONCE);
    assert!(forwarding.stop(Duration::from_secs(20)));
    assert_eq!(fs::read_dir(&up).unwrap().count(), LAPTOPS_AT_ONCE);
}

#[test]
fn a_stop_does_not_wait_for_what_is_sent_slowly() {
    let place = tempfile::tempdir().unwrap();
    let (state, up) = (place.path().join("hub"), place.path().join("up"));
    fs::create_dir(&up).unwrap();
    sealed_set(&state);
    let root = up.clone();
    let parts = ForwardingParts {
        spool: spool(&state),
        open: Arc::new(move |_| {
            Ok(Some(
                Box::new(FolderUpstream::new(&root, &[7; 32])) as Box<dyn Upstream>
            ))
        }),
        // A clock that stands still: what is waited for never comes.
        now: Arc::new(|| Duration::ZERO),
        rng: Box::new(OsRng),
        wall_ns: Arc::new(|| 1_700_000_000_000_000_000),
        by_itself: ByItself::Never,
        bytes_per_second: Some(NonZeroU64::MIN),
    };
    let forwarding = Forwarding::start(parts, Box::new(|_| {}));
    let news = forwarding.now(None);
    let begun = news
        .iter()
        .any(|news| matches!(news.what, Forwarded::Begun { .. }));
    assert!(begun);
    assert!(forwarding.stop(Duration::from_secs(20)));
    assert!(!up.join("config").exists(), "it was not held back");
}

#[test]
fn forwarding_by_hand_waits_to_be_asked_and_then_for_the_end() {
    let place = tempfile::tempdir().unwrap();
    let (state, up) = (place.path().join("hub"), place.path().join("up"));
    sealed_set(&state);
    fs::create_dir(&up).unwrap();
    let file = place.path().join("berthd.toml");
    fs::write(&file, "forward = \"manual\"\n").unwrap();
    let hub = Hub::start(&state, &["--config", file.to_str().unwrap()]);
    let answer = hub.ask(&json!({ "do": "set_upstream", "url": format!("file://{}", up.display()) }));
    assert_eq!(answer[0]["upstream"], up.to_str().unwrap());
    assert_eq!(
        fs::read_dir(&up).unwrap().count(),
        0,
        "the probe was left, or something was forwarded"
    );
    let events = hub.ask(&json!({ "do": "forward" }));
    let of = |event: &str| events.iter().filter(|one| one["event"] == event).count();
    assert_eq!(
        (of("begun"), of("forwarded"), of("failed")),
        (1, 1, 0),
        "{events:#?}"
    );
    assert_eq!(hub.ask(&json!({ "do": "forward" })), [json!({ "done": true })]);
    hub.stop();
    let hub = Hub::start(&state, &[]);
    assert_eq!(
        hub.ask(&json!({ "do": "status" }))[0]["upstream"],
        up.to_str().unwrap(),
        "it was forgotten"
    );
    hub.stop();
}

#[test]
fn outside_of_its_hours_a_hub_forwards_when_it_is_asked_only() {
    let place = tempfile::tempdir().unwrap();
    let (state, up) = (place.path().join("hub"), place.path().join("up"));
    let sealed = sealed_set(&state);
    fs::create_dir(&up).unwrap();
    let file = place.path().join("berthd.toml");
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).weekday();
    let day = |ahead: i64| today.wrapping_add(ahead);
    let name = |day: jiff::civil::Weekday| format!("{day:?}")[..3].to_lowercase();
    let text = format!(
        "time_zone = \"UTC\"\nforward = [\"{} 00:00-24:00\"]\n",
        name(day(3))
    );
    fs::write(&file, text).unwrap();
    let options = [
        "--config",
        file.to_str().unwrap(),
        "--upstream",
        up.to_str().unwrap(),
    ];
    let hub = Hub::start(&state, &options);
    let status = hub.ask(&json!({ "do": "status" }));
    assert!(status[0]["forwards_at"].is_string(), "{status:#?}");
    hub.stop();
    assert_eq!(fs::read_dir(&up).unwrap().count(), 0, "it forwarded by itself");
    let hub = Hub::start(&state, &options);
    hub.ask(&json!({ "do": "forward" }));
    hub.stop();
    let repository = up.join(format!("laptop-{}", sealed.laptop));
    assert!(repository.join("snapshots").join(&sealed.snapshot).exists());
}

#[test]
fn an_upstream_that_vanished_is_named_and_nothing_is_made_in_its_place() {
    let place = tempfile::tempdir().unwrap();
    let (state, up) = (place.path().join("hub"), place.path().join("up"));
    sealed_set(&state);
    let hub = Hub::start(&state, &[]);
    fs::create_dir(&up).unwrap();
    hub.ask(&json!({ "do": "set_upstream", "url": up }));
    hub.wait_for("forwarded");
    hub.stop();
    fs::remove_dir_all(&up).unwrap();
    sealed_set(&state);
    let hub = Hub::start(&state, &["--upstream", up.to_str().unwrap()]);
    hub.wait_for("forwarding failed");
    let failed: Vec<Value> = hub.ask(&json!({ "do": "forward" }));
    let why = failed[0]["why"].as_str().unwrap();
    assert!(why.contains("is its disk mounted?"), "{why}");
    assert!(!up.exists());

    let status = &hub.ask(&json!({ "do": "status" }))[0];
    let outage = &status["outage"];
    assert_eq!(
        (&outage["why"], &status["sets_waiting"]),
        (&json!(why), &json!(1))
    );
    assert!(outage["tries"].as_u64().unwrap() >= 2, "{outage}");
    let at = |field: &str| -> jiff::Timestamp { outage[field].as_str().unwrap().parse().unwrap() };
    assert!(at("since") < at("next_try_at"));
    let problems = status["problems"].as_array().unwrap();
    let of_it = problems
        .iter()
        .filter(|problem| problem.as_str().unwrap().contains(why));
    assert_eq!(of_it.count(), 1, "{problems:#?}");

    fs::create_dir(&up).unwrap();
    hub.ask(&json!({ "do": "forward" }));
    let lines = hub.wait_for("the upstream answers again").concat();
    assert!(
        !lines.contains("forwarding failed"),
        "the same was said twice: {lines}"
    );
    assert!(hub.ask(&json!({ "do": "status" }))[0]["outage"].is_null());
    hub.stop();
}

#[test]
fn an_upstream_that_cannot_be_is_refused_before_it_is_stored() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("hub");
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, line) = refused(berthd(&state).args(["--upstream", "s3:bucket"]));
    assert_eq!(code, Some(1), "{line}");
    let hub = Hub::start(&state, &[]);
    for url in ["s3:bucket", "/nowhere/at/all", file.to_str().unwrap()] {
        let answer = hub.ask(&json!({ "do": "set_upstream", "url": url }));
        assert!(answer[0]["error"].is_string(), "{url}: {answer:?}");
    }
    assert!(hub.ask(&json!({ "do": "status" }))[0]["upstream"].is_null());
    hub.stop();
}
