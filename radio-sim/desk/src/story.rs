//! The story: what a person does with a laptop and a hub, and what comes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use berth_agent::{Left, Report, bytes, quoted};
use berth_client_sdk::Summary;
use berth_disk::{OsDisk, replace};
use berth_pairing::Name;
use berth_radio::Radio;
use berth_radio_sim::{Air, SharedAir, SimRadio};
use berth_restore::compare::{Owners, differences};
use berth_restore::{Existing, FolderSource, Repository, Snapshot};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use indicatif::HumanCount;
use serde_json::json;

use crate::args::Args;
use crate::clock::{RealClock, wall_ns};
use crate::hub_half::{self, News, Order, Places};
use crate::judge::judge;
use crate::laptop_half::LaptopHalf;

/// Visits that may be cut one after the other before the story gives up.
const VISITS_MAX: u32 = 5;

/// A hub that has nothing to say for this long is stuck. Forwarding a set of some terabytes takes hours.
const NEWS_MAX: Duration = Duration::from_secs(24 * 3600);

/// Files that are shown by name; `--json` names all that were not read.
const SHOWN_MAX: usize = 20;

/// How the story ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The restored files equal the folder.
    Same,
    /// They do, but for files that could not be read, or changed meanwhile.
    SomeNotRead,
    /// They do not.
    Different,
}

/// Where everything lies.
pub(crate) struct Work {
    pub(crate) root: PathBuf,
    pub(crate) laptop: PathBuf,
    pub(crate) hub: PathBuf,
    pub(crate) upstream: PathBuf,
    restored: PathBuf,
}

impl Work {
    pub(crate) fn open(args: &Args) -> Result<Self> {
        let root = match &args.work {
            Some(root) => {
                fs::create_dir_all(root).with_context(|| format!("the work folder {}", root.display()))?;
                root.clone()
            }
            None => tempfile::Builder::new()
                .prefix("berth-desk-")
                .tempdir()
                .context("a work folder in the folder for temporary files; name another one with --work")?
                .keep(),
        };
        let root = root
            .canonicalize()
            .with_context(|| format!("the work folder {}", root.display()))?;
        Ok(Self {
            laptop: root.join("laptop"),
            hub: root.join("hub"),
            upstream: root.join("upstream"),
            restored: root.join("restored"),
            root,
        })
    }

    /// Leaves the recovery key where the restic commands find it, for the owner's eyes only.
    pub(crate) fn keep_recovery_key(&self, key: &str) -> Result<()> {
        let disk = OsDisk::open(&self.root)?;
        Ok(replace(&disk, "recovery-key", format!("{key}\n").as_bytes())?)
    }
}

/// Checks FOLDER before anything is made.
pub(crate) fn folder(folder: &Path) -> Result<PathBuf> {
    let whole = folder
        .canonicalize()
        .with_context(|| format!("cannot back up {}", folder.display()))?;
    if !whole.is_dir() {
        bail!(
            "{} is not a folder: name the folder that it lies in",
            folder.display()
        );
    }
    Ok(whole)
}

/// Tells the whole story.
pub(crate) fn tell(args: &Args) -> Result<Outcome> {
    let folder = folder(args.folder.as_deref().unwrap_or(Path::new(".")))?;
    let work = Work::open(args)?;
    if folder.starts_with(&work.root) {
        bail!(
            "{} lies in the work folder, which is never backed up: take another --work",
            folder.display()
        );
    }
    let clock = RealClock::start();
    let air = SharedAir::new(Air::new(args.seed, args.profile), move || clock.now());
    let hub_radio = air.radio("hub")?;
    let mut laptop_radio = air.radio("laptop")?;
    let (orders_in, orders_out) = unbounded();
    let (news_in, news_out) = unbounded();
    let places = (work.hub.clone(), work.upstream.clone());
    let hub = thread::spawn(move || run_hub(hub_radio, &places, &orders_out, &news_in));
    let mut story = Story {
        args,
        folder,
        work,
        air,
        orders: orders_in,
        news: news_out,
        report: Report::new(args.json, Box::new(std::io::stdout())),
        totals: Totals::default(),
        visit_began_ns: 0,
    };
    let outcome = story.run(&mut laptop_radio);
    // A hub that has ended already takes no orders.
    let _ = story.orders.send(Order::Stop);
    match hub.join() {
        Ok(Ok(())) => outcome,
        Ok(Err(error)) => Err(error.context("the hub stopped")),
        Err(_) => outcome.and(Err(anyhow!("the hub failed in a way that it never should"))),
    }
}

fn run_hub(
    mut radio: SimRadio,
    (state, upstream): &(PathBuf, PathBuf),
    orders: &Receiver<Order>,
    news: &Sender<News>,
) -> Result<()> {
    hub_half::run(&mut radio, &Places { state, upstream }, orders, news)
}

struct Story<'a> {
    args: &'a Args,
    folder: PathBuf,
    work: Work,
    air: SharedAir,
    orders: Sender<Order>,
    news: Receiver<News>,
    report: Report,
    totals: Totals,
    /// When the last visit began, nanoseconds since 1970.
    visit_began_ns: i64,
}

#[derive(Default)]
struct Totals {
    visits: u32,
    bytes_sent: u64,
    backup_seconds: f64,
    forward_seconds: f64,
    restore_seconds: f64,
}

/// What came of one visit.
enum Visited {
    Whole(Box<Summary>),
    Cut,
}

impl Story<'_> {
    fn run(&mut self, radio: &mut SimRadio) -> Result<Outcome> {
        let mut laptop = LaptopHalf::open(&self.work.laptop, host_name())?;
        self.work.keep_recovery_key(laptop.recovery_key())?;
        self.report.note(&format!(
            "Backing up {}, with everything of Berth's in {}.",
            quoted(&self.folder),
            quoted(&self.work.root)
        ));
        self.wait_for(|news| matches!(news, News::Ready { .. }))?;
        if !laptop.is_paired() {
            self.pair(&mut laptop, radio)?;
        }
        let summary = self.visits(&mut laptop, radio)?;
        self.forward()?;
        self.restore_and_compare(laptop.recovery_key(), &summary)
    }

    fn pair(&mut self, laptop: &mut LaptopHalf, radio: &mut SimRadio) -> Result<()> {
        self.order(Order::Pair)?;
        let News::Code { code } = self.wait_for(|news| matches!(news, News::Code { .. }))? else {
            bail!("the hub showed no code");
        };
        self.report.tell(
            "code",
            json!({ "code": code }),
            &format!("The hub shows the pairing code {code}; the person types it on the laptop."),
        );
        let hub = laptop.pair(radio, &code).context("pairing")?;
        self.wait_for(|news| matches!(news, News::Paired { .. }))?;
        let line = format!(
            "Paired: the laptop and the hub {} know each other's keys.",
            hub.name
        );
        self.report
            .tell("paired", json!({ "hub": hub.name.as_str() }), &line);
        Ok(())
    }

    /// Visits until a set is complete: one, or more where the laptop leaves too early.
    fn visits(&mut self, laptop: &mut LaptopHalf, radio: &mut SimRadio) -> Result<Box<Summary>> {
        let mut leave_at = self.args.leave_at;
        for _ in 0..VISITS_MAX {
            if let Visited::Whole(summary) = self.visit(laptop, radio, leave_at.take())? {
                return Ok(summary);
            }
            self.wait_for(|news| matches!(news, News::VisitEnded { .. }))?;
            self.air.with(|air, now| air.near(now, radio.port()));
            self.report.note("The laptop is back at the desk.");
        }
        bail!("the link was cut {VISITS_MAX} times: try a better --profile")
    }

    fn visit(
        &mut self,
        laptop: &mut LaptopHalf,
        radio: &mut SimRadio,
        leave_at: Option<u8>,
    ) -> Result<Visited> {
        let (air, port, report) = (self.air.clone(), radio.port(), &mut self.report);
        let arrived = radio.now();
        self.visit_began_ns = wall_ns();
        let (mut linked, mut finished, mut left) = (None, arrived, false);
        let (mut acknowledged, mut restorable) = (0, 0);
        let left_desk = laptop.visit(
            radio,
            &self.folder,
            std::slice::from_ref(&self.work.root),
            &mut |now, watched| {
                if linked.is_none() && watched.progress().is_some() {
                    linked = Some(now);
                    report.begin(now);
                    if let Some(percent) = leave_at {
                        watched.leave_at(percent);
                    }
                }
                let Some(progress) = watched.progress() else {
                    return;
                };
                finished = now;
                (acknowledged, restorable) = (progress.bytes_acknowledged, progress.bytes_restorable);
                report.progress(now, progress);
                if leave_at.is_some() && progress.requested_mark_done && !left {
                    left = true;
                    air.with(|air, now| air.away(now, port));
                }
            },
        )?;
        let now = radio.now();
        let (seconds, backup) = (
            (now - arrived).as_secs_f64(),
            linked.map_or(0.0, |at| (finished - at).as_secs_f64()),
        );
        self.totals.visits += 1;
        self.totals.backup_seconds += backup;
        self.totals.bytes_sent += left_desk.bytes_sent;
        self.tell_visit(left_desk, seconds, backup, [acknowledged, restorable])
    }

    fn tell_visit(&mut self, left: Left, seconds: f64, backup: f64, counts: [u64; 2]) -> Result<Visited> {
        let (
            Left {
                ended, bytes_sent, ..
            },
            [acknowledged, restorable],
        ) = (left, counts);
        match ended.visit {
            Some(Ok(summary)) => {
                let not_read = summary.not_read_count;
                let fields = json!({
                    "set": summary.set.0, "kind": summary.kind, "snapshot": summary.snapshot.to_string(),
                    "files": summary.files, "bytes_scanned": summary.bytes_scanned, "bytes_sent": bytes_sent,
                    "bytes_new": summary.bytes_new, "files_read": summary.content_files_read,
                    "sockets": summary.sockets, "seconds": seconds, "backup_seconds": backup,
                    "not_read": summary.not_read.iter().map(|entry| json!({
                        "path": entry.path.display().to_string(), "why": entry.why.to_string(),
                    })).collect::<Vec<_>>(), "not_read_count": not_read,
                });
                let with = if not_read == 0 {
                    String::new()
                } else {
                    format!(", with {} files not read", HumanCount(not_read))
                };
                let line = format!(
                    "Set {} is complete{with}: {} files, {}; {} were read, {} sent in {seconds:.1} s. You may go.",
                    summary.set,
                    HumanCount(summary.files),
                    bytes(summary.bytes_scanned),
                    HumanCount(summary.content_files_read),
                    bytes(bytes_sent),
                );
                self.report.tell("visit", fields, &line);
                let named = summary.not_read.iter();
                let named: Vec<_> = named
                    .map(|entry| format!("{}: {}", entry.path.display(), entry.why))
                    .collect();
                self.name_some(&named);
                Ok(Visited::Whole(summary))
            }
            Some(Err(error)) => Err(anyhow!("{error}. {}", error.advice())),
            None if matches!(ended.session, berth_session::LaptopEnd::Cut) => {
                let fields = json!({
                    "bytes_sent": bytes_sent, "bytes_acknowledged": acknowledged, "bytes_restorable": restorable, "seconds": seconds,
                });
                let line = format!(
                    "The laptop left in the middle: {} of its files are safe on the hub, {} of them restorable at once.",
                    bytes(acknowledged),
                    bytes(restorable),
                );
                self.report.tell("cut", fields, &line);
                Ok(Visited::Cut)
            }
            None => bail!("{}. {}", ended.session, ended.session.advice()),
        }
    }

    fn forward(&mut self) -> Result<()> {
        let clock = RealClock::start();
        self.order(Order::Forward)?;
        let told = |news: &News| matches!(news, News::Forwarded { .. } | News::AllForwarded { .. });
        while let News::Forwarded {
            set,
            kind,
            objects,
            bytes: size,
        } = self.wait_for(told)?
        {
            let fields = json!({ "set": set, "kind": kind, "objects": objects, "bytes": size });
            let line = format!(
                "Set {set} ({kind}) is upstream, checked: {objects} objects, {}.",
                bytes(size)
            );
            self.report.tell("forwarded", fields, &line);
        }
        self.totals.forward_seconds = clock.now().as_secs_f64();
        Ok(())
    }

    fn restore_and_compare(&mut self, recovery_key: &str, summary: &Summary) -> Result<Outcome> {
        let clock = RealClock::start();
        remove(&self.work.restored)?;
        let repository = Repository::open(FolderSource::new(&self.work.upstream), recovery_key)?;
        let snapshots = repository.snapshots()?;
        let snapshot = |wanted: &&Snapshot| wanted.id.to_string() == summary.snapshot.to_string();
        let Some(snapshot) = snapshots.iter().find(snapshot) else {
            bail!("the snapshot of this visit is not upstream");
        };
        let restored = repository.restore(
            snapshot,
            std::slice::from_ref(&self.folder),
            &self.work.restored,
            Existing::Keep,
            &|_| {},
        )?;
        let within = self.folder.strip_prefix("/").unwrap_or(&self.folder);
        let owners = Owners::of_this_user();
        let found = differences(
            &self.folder,
            &self.work.restored.join(within),
            owners,
            std::slice::from_ref(&self.work.root),
        )?;
        self.totals.restore_seconds = clock.now().as_secs_f64();
        let (outcome, lines) = judge(&self.folder, &found, summary, self.visit_began_ns);
        self.name_some(&lines);
        remove(&self.work.restored)?;
        let counts = format!("{} files, {}", HumanCount(restored.files), bytes(restored.bytes));
        let line = match outcome {
            Outcome::Same => format!("Restored from the upstream and compared: {counts}, identical."),
            Outcome::SomeNotRead => format!(
                "Restored from the upstream and compared: {counts}, identical but for what is named above."
            ),
            Outcome::Different => format!(
                "Restored from the upstream and compared: {counts}, {} DIFFERENCES.",
                found.len()
            ),
        };
        let fields = json!({
            "files": restored.files, "bytes": restored.bytes, "differences": found.len(), "identical": found.is_empty(),
            "seconds": self.totals.restore_seconds,
        });
        self.report.tell("restored", fields, &line);
        self.close(summary, found.len());
        Ok(outcome)
    }

    fn name_some(&mut self, lines: &[String]) {
        for line in lines.iter().take(SHOWN_MAX) {
            self.report.note(&format!("  {line}"));
        }
        if lines.len() > SHOWN_MAX {
            self.report
                .note(&format!("  and {} more", lines.len() - SHOWN_MAX));
        }
    }

    fn close(&mut self, summary: &Summary, differences: usize) {
        let (upstream, key) = (
            quoted(&self.work.upstream),
            quoted(&self.work.root.join("recovery-key")),
        );
        let fields = json!({
            "set": summary.set.0, "kind": summary.kind, "visits": self.totals.visits, "files": summary.files,
            "bytes_scanned": summary.bytes_scanned, "bytes_sent": self.totals.bytes_sent, "bytes_new": summary.bytes_new,
            "not_read_count": summary.not_read_count, "differences": differences, "backup_seconds": self.totals.backup_seconds,
            "forward_seconds": self.totals.forward_seconds, "restore_seconds": self.totals.restore_seconds,
            "upstream": self.work.upstream, "recovery_key_file": self.work.root.join("recovery-key"),
        });
        let line = format!(
            "The upstream is an ordinary restic repository. Read it with:\n  restic -r {upstream} -p {key} snapshots\n  restic -r {upstream} -p {key} check --read-data\n  restic -r {upstream} -p {key} restore latest --target FOLDER",
        );
        self.report.tell("summary", fields, &line);
        if self.args.work.is_none() {
            self.report
                .note(&format!("Remove it all with: rm -r {}", quoted(&self.work.root)));
        }
    }

    fn order(&self, order: Order) -> Result<()> {
        self.orders
            .send(order)
            .map_err(|_| anyhow!("the hub has stopped"))
    }

    /// Waits for one piece of news; what the hub says besides is passed on.
    fn wait_for(&mut self, wanted: impl Fn(&News) -> bool) -> Result<News> {
        loop {
            let news = self.news.recv_timeout(NEWS_MAX).map_err(|error| match error {
                RecvTimeoutError::Disconnected => anyhow!("the hub has stopped"),
                RecvTimeoutError::Timeout => {
                    anyhow!("the hub said nothing for a day: look at its disk and at the upstream")
                }
            })?;
            match news {
                news if wanted(&news) => return Ok(news),
                News::Failed { why } => {
                    self.report
                        .tell("hub", json!({ "why": why }), &format!("The hub says: {why}"))
                }
                News::NotAdmitted { why } => {
                    self.report.tell(
                        "not_admitted",
                        json!({ "why": why }),
                        &format!("The hub says: {why}"),
                    );
                }
                _ => {}
            }
        }
    }
}

/// Removes a folder of ours that may not be there. Folders in it may be read-only, as restored.
fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    make_writable(folder);
    fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
}

fn make_writable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // Where it cannot be done, the removal says so.
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

/// What this machine calls itself, fit for the air and for folders.
pub(crate) fn host_name() -> Name {
    Name::reduce(&rustix::system::uname().nodename().to_string_lossy())
}
