//! The real programs as processes: an air, a hub, laptops that are paired with it, and what they cost.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Something that is to happen and does not for so long: the benchmark has failed.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// How often something is looked at that nobody tells and that nobody measures.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `USER_HZ`, the unit of `/proc/PID/stat`: 100 on every architecture that Linux runs on here.
const TICKS_PER_SECOND: f64 = 100.0;

/// Where the release programs are.
pub(crate) struct Programs(PathBuf);

/// A process that ends with its handle.
pub(crate) struct Process(Child);

/// A hub, and the state folders of those who meet it.
pub(crate) struct Hub<'a> {
    programs: &'a Programs,
    /// Its state is in `hub`, those of laptops beside it.
    place: PathBuf,
    /// What a laptop says to reach it.
    reach: [String; 2],
    pub(crate) process: Process,
}

/// What a process has cost so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
}

impl Programs {
    /// Finds `berthd`, `berth`, `berthctl` and `berth-air` in a folder: beside this program unless named.
    pub(crate) fn find(folder: Option<PathBuf>) -> Result<Self> {
        let folder = match folder {
            Some(folder) => folder,
            None => std::env::current_exe()?.with_file_name(""),
        };
        for name in ["berthd", "berth", "berthctl", "berth-air"] {
            if !folder.join(name).is_file() {
                bail!(
                    "there is no {name} in {}: run `cargo build --release` first",
                    folder.display()
                );
            }
        }
        Ok(Self(folder))
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.join(name));
        command.stdin(Stdio::null());
        command
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env_remove("NOTIFY_SOCKET");
        command
    }

    /// An air at `socket`; what it draws comes from `seed`.
    pub(crate) fn air(&self, socket: &Path, profile: &str, seed: u32) -> Result<Process> {
        let mut air = self.command("berth-air");
        air.arg("--socket").arg(socket).args(["--profile", profile]);
        air.args(["--seed", &seed.to_string()]);
        let air = Process(air.stdout(Stdio::null()).spawn()?);
        wait_until("the air", LOOK_EVERY, || Ok(socket.exists()))?;
        Ok(air)
    }

    /// An order to the air at `socket`: what it prints.
    pub(crate) fn ctl(&self, socket: &Path, order: &[&str]) -> Result<Vec<u8>> {
        let mut ctl = self.command("berth-air");
        output(ctl.arg("ctl").args(order).arg("--socket").arg(socket))
    }
}

impl<'a> Hub<'a> {
    /// Starts one in `place`; reached over loopback, or through an air.
    pub(crate) fn start(programs: &'a Programs, place: &Path, air: Option<&Path>) -> Result<Self> {
        Self::start_with(programs, place, air, |_| {})
    }

    /// The same, with what `set` adds to its command.
    pub(crate) fn start_with(
        programs: &'a Programs,
        place: &Path,
        air: Option<&Path>,
        set: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        fs::create_dir_all(place)?;
        let mut berthd = programs.command("berthd");
        berthd
            .args(["--json", "--name", "hub", "--state"])
            .arg(place.join("hub"));
        match air {
            None => berthd.args(["--radio", "none", "--listen", "127.0.0.1:0"]),
            Some(socket) => berthd.args(["--radio", &radio(socket)]),
        };
        set(&mut berthd);
        let mut child = berthd.stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take().context("berthd has no standard error")?;
        let process = Process(child);
        let mut lines = BufReader::new(log).lines();
        let ready = loop {
            let line = lines.next().context("berthd ended before it was ready")??;
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if said["message"] == "ready" {
                break said;
            }
        };
        // A full pipe would stop it.
        thread::spawn(move || lines.for_each(drop));
        let reach = match (air, ready["listening"].as_str()) {
            (Some(socket), _) => ["--radio".to_owned(), radio(socket)],
            (None, Some(address)) => ["--via".to_owned(), address.to_owned()],
            (None, None) => bail!("berthd does not say where it listens"),
        };
        Ok(Self {
            programs,
            place: place.to_owned(),
            reach,
            process,
        })
    }

    /// `berth` of one laptop, which has a state folder of its own.
    pub(crate) fn berth(&self, laptop: &str, arguments: &[&str]) -> Command {
        let mut berth = self.programs.command("berth");
        berth
            .args(arguments)
            .args(&self.reach)
            .args(["--json", "--name", laptop]);
        berth.arg("--state").arg(self.place.join(laptop));
        berth
    }

    /// `berthctl` of the hub: its answer.
    pub(crate) fn berthctl(&self, arguments: &[&str]) -> Result<Value> {
        let mut berthctl = self.programs.command("berthctl");
        berthctl
            .arg("--state")
            .arg(self.place.join("hub"))
            .arg("--json")
            .args(arguments);
        Ok(serde_json::from_slice(&output(&mut berthctl)?)?)
    }

    /// Pairs a new laptop.
    pub(crate) fn pair(&self, laptop: &str) -> Result<()> {
        let mut berthctl = self.programs.command("berthctl");
        berthctl
            .arg("--state")
            .arg(self.place.join("hub"))
            .args(["--json", "pair"]);
        let mut window = Process(berthctl.stdout(Stdio::piped()).spawn()?);
        let mut lines = BufReader::new(window.0.stdout.take().context("berthctl has no output")?).lines();
        let shown: Value = serde_json::from_str(&lines.next().context("berthctl shows no code")??)?;
        let code = shown["code"].as_str().context("berthctl shows no code")?;
        output(&mut self.berth(laptop, &["pair", code]))?;
        lines.for_each(drop);
        window.0.wait()?;
        Ok(())
    }

    /// Backs a folder up, and gives what `berth backup` says at its end.
    pub(crate) fn back_up(&self, laptop: &str, folder: &Path) -> Result<Value> {
        let mut backup = self.berth(laptop, &["backup"]);
        let said = output(backup.arg(folder))?;
        let mut lines = said.split(|byte| *byte == b'\n');
        let summary = lines.find_map(|line| {
            let said: Value = serde_json::from_slice(line).ok()?;
            (said["event"] == "summary" && said["kind"] == "complete").then_some(said)
        });
        summary.context("berth backup ended without the summary of a complete set")
    }
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.stdout(Stdio::null()).spawn()?))
    }

    pub(crate) fn cost(&self) -> Result<Cost> {
        let proc = PathBuf::from("/proc").join(self.0.id().to_string());
        let stat = fs::read_to_string(proc.join("stat"))?;
        let status = fs::read_to_string(proc.join("status"))?;
        cost(&stat, &status).with_context(|| format!("can't read {}", proc.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// From `/proc/PID/stat` and `/proc/PID/status` (proc(5)): fields 14 and 15, and two lines in KiB.
fn cost(stat: &str, status: &str) -> Option<Cost> {
    // The second field is a name in brackets, which may hold spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(
            line.trim_start_matches(':')
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()?
                * 1024,
        )
    };
    Some(Cost {
        cpu_seconds: (ticks()? + ticks()?) / TICKS_PER_SECOND,
        rss_bytes: bytes("VmRSS")?,
        rss_peak_bytes: bytes("VmHWM")?,
    })
}

/// Waits until something that nobody tells is so, and looks every so often.
pub(crate) fn wait_until(what: &str, every: Duration, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() > WAIT_MAX {
            bail!("waited too long for {what}");
        }
        thread::sleep(every);
    }
    Ok(())
}

pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?} failed ({})", output.status);
    }
    Ok(output.stdout)
}

fn radio(socket: &Path) -> String {
    format!("air:{}", socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 1 2 3";
        let status = "Name:\ta) b\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\n";
        let cost = cost(stat, status).unwrap();
        assert!((cost.cpu_seconds - 3.0).abs() < f64::EPSILON);
        assert_eq!((cost.rss_bytes, cost.rss_peak_bytes), (2 << 20, 3 << 20));
    }
}
