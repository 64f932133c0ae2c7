//! The state folder: private, of one program at a time, and opened part by part with a line for what is wrong with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use berth_bridge::{Journal, JournalError, Opened, Repair, Spool};
use berth_disk::{FolderLock, OsDisk, SharedDisk};
use berth_pairing::{Identity, TrustList};
use rand_core::OsRng;
use tracing::{info, warn};

use crate::clock::wall_ns;

/// What `OsDisk::try_lock` locks; it says who does.
const LOCK_FILE: &str = "lock";

/// What nobody but the owner may do: write for the group, anything for others.
const OPEN_TO_OTHERS: u32 = 0o027;

/// An opened state folder.
pub(crate) struct State {
    pub(crate) disk: SharedDisk,
    pub(crate) identity: Arc<Identity>,
    pub(crate) trust: TrustList,
    pub(crate) spool: Arc<Spool>,
    /// What was put right and somebody should know of.
    pub(crate) problems: Vec<String>,
    pub(crate) lock: FolderLock,
}

impl State {
    /// Opens, or makes, the state in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let named = || format!("the state folder {}", folder.display());
        let unusable = || {
            format!(
                "{}: see whose it is, and whether its disk is full or read-only",
                named()
            )
        };
        let is_new = !folder.exists();
        let disk = OsDisk::open(folder).with_context(unusable)?;
        if !is_new {
            close_to_others(folder).with_context(named)?;
        }
        let Some(lock) = disk.try_lock().with_context(unusable)? else {
            bail!(
                "{} uses the state folder {}: stop it first, or take another --state",
                holder(folder),
                folder.display()
            );
        };
        // For the line above, of another process.
        let _ = fs::write(folder.join(LOCK_FILE), std::process::id().to_string());
        let disk: SharedDisk = Arc::new(disk);
        let identity = Identity::open_or_generate(&*disk, &mut OsRng);
        let identity = Arc::new(identity.map_err(|error| in_one_line(&error, error.advice()))?);
        let trust = TrustList::open(Arc::clone(&disk), "trust");
        let trust = trust.map_err(|error| in_one_line(&error, error.advice()))?;
        let mut problems = Vec::new();
        let journal = open_journal(folder, &mut problems)?;
        let (spool, repairs) = Spool::open(Arc::clone(&disk), journal, identity.clone(), wall_ns())
            .map_err(|error| in_one_line(&error, error.advice()))?;
        repairs.iter().for_each(|repair| tell(repair, &mut problems));
        Ok(Self {
            disk,
            identity,
            trust,
            spool,
            problems,
            lock,
        })
    }
}

/// What happened, what caused it, and what to do.
pub(crate) fn in_one_line(error: &dyn std::error::Error, advice: &str) -> anyhow::Error {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    if !advice.is_empty() {
        line = format!("{line}. {advice}");
    }
    anyhow!(line)
}

fn open_journal(folder: &Path, problems: &mut Vec<String>) -> Result<Journal> {
    match Journal::open(folder.join("journal"), None) {
        Ok((journal, opened)) => {
            if let Opened::Damaged { why } = opened {
                let problem = format!(
                    "the journal was damaged ({why}): it is rebuilt from the spool, the old one is kept as journal.damaged"
                );
                warn!("{problem}");
                problems.push(problem);
            }
            Ok(journal)
        }
        Err(error) => {
            let advice = match &error {
                JournalError::InUse => "Stop the other program first.",
                _ => "Look at the disk: is it full, read-only or failing?",
            };
            Err(in_one_line(&error, advice))
        }
    }
}

/// Takes from others what they may do with the folder, where that cannot harm anybody: a folder that is not Berth's is
/// left as it is, and refused.
fn close_to_others(folder: &Path) -> Result<()> {
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & OPEN_TO_OTHERS == 0 {
        return Ok(());
    }
    let is_ours =
        folder.join(berth_pairing::IDENTITY_FILE).exists() || fs::read_dir(folder)?.next().is_none();
    if !is_ours {
        bail!(
            "others may use it (mode {:03o}): run chmod 700 on it, or take another",
            mode & 0o777
        );
    }
    fs::set_permissions(folder, Permissions::from_mode(mode & 0o7777 & !OPEN_TO_OTHERS))
        .context("others may use it, and that cannot be changed")?;
    warn!(
        mode = format!("{:03o}", mode & 0o777),
        "others could use the state folder; now they cannot"
    );
    Ok(())
}

fn holder(folder: &Path) -> String {
    match fs::read_to_string(folder.join(LOCK_FILE)) {
        Ok(text) if text.parse::<u32>().is_ok() => format!("another berthd (process {text})"),
        Ok(_) | Err(_) => "another program".to_owned(),
    }
}

/// What a stop leaves behind is put right without a word to anybody; all else somebody should look at.
fn tell(repair: &Repair, problems: &mut Vec<String>) {
    match repair {
        Repair::Sealed { .. } | Repair::Kept { .. } | Repair::Rebuilt { .. } => info!("{repair}"),
        _ => {
            warn!("{repair}");
            problems.push(repair.to_string());
        }
    }
}
