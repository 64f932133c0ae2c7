//! Settings: the file, the flags before it, and what is assumed without either.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use berth_bridge::Limits;
use berth_daemon::Windows;
use berth_net::RadioSpec;
use berth_pairing::Name;
use jiff::tz::TimeZone;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use crate::args::Args;
use crate::size::{Rate, Size};

/// Keys of the file; see `berthd.example.toml`.
const KEYS: [&str; 15] = [
    "credentials",
    "folders",
    "forward",
    "forward_rate",
    "listen",
    "log",
    "name",
    "quota",
    "radio",
    "serve",
    "serve_names",
    "spool_max",
    "state",
    "time_zone",
    "upstream",
];

/// Settings files are a page.
const FILE_SIZE_BYTES_MAX: u64 = 64 * 1024;

/// A key that differs in more letters than this is no typing error.
const TYPING_ERROR_MAX: usize = 3;

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
struct File {
    state: Option<PathBuf>,
    name: Option<String>,
    radio: Option<String>,
    listen: Option<SocketAddr>,
    serve: Option<SocketAddr>,
    #[serde(default)]
    serve_names: Vec<String>,
    upstream: Option<String>,
    credentials: Option<PathBuf>,
    #[serde(default)]
    folders: BTreeMap<String, String>,
    #[serde(default)]
    forward: When,
    forward_rate: Option<Rate>,
    time_zone: Option<String>,
    spool_max: Option<Size>,
    quota: Option<Size>,
    #[serde(default)]
    log: Level,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "give \"auto\", \"manual\", or hours as in [\"01:00-05:00\"]"
)]
enum WordOrWindows {
    Word(String),
    Windows(Vec<String>),
}

/// When sets are forwarded, while no visit is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WordOrWindows")]
pub(crate) enum When {
    /// At once.
    #[default]
    Auto,
    /// When somebody runs `berthctl forward`.
    Manual,
    /// At these hours, and when somebody runs `berthctl forward`.
    In(Windows),
}

impl When {
    /// Hours as this hub's.
    pub(crate) fn of(self, zone: TimeZone, hub: [u8; 32]) -> Self {
        match self {
            Self::In(windows) => Self::In(windows.of(zone, hub)),
            Self::Auto | Self::Manual => self,
        }
    }
}

impl TryFrom<WordOrWindows> for When {
    type Error = String;

    fn try_from(given: WordOrWindows) -> Result<Self, String> {
        match given {
            WordOrWindows::Word(word) if word == "auto" => Ok(Self::Auto),
            WordOrWindows::Word(word) if word == "manual" => Ok(Self::Manual),
            WordOrWindows::Word(word) => Err(format!(
                "{word:?} is neither \"auto\" nor \"manual\"; hours stand in brackets, as in [\"01:00-05:00\"]"
            )),
            WordOrWindows::Windows(lines) => Windows::parse(&lines)
                .map(Self::In)
                .map_err(|error| error.to_string()),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
            Self::In(windows) => return windows.fmt(f),
        })
    }
}

/// What is logged.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Off,
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Everything that was settled.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) state: PathBuf,
    pub(crate) name: Name,
    pub(crate) radio: RadioSpec,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) serve: Option<SocketAddr>,
    pub(crate) serve_names: Vec<String>,
    pub(crate) upstream: Option<String>,
    credentials: Option<PathBuf>,
    /// What folder at the upstream is that of a laptop of this name: for those that are to have another than their name.
    pub(crate) folders: BTreeMap<Name, Name>,
    pub(crate) forward: When,
    pub(crate) forward_rate: Option<Rate>,
    pub(crate) time_zone: TimeZone,
    pub(crate) limits: Limits,
    pub(crate) log: LevelFilter,
}

impl Config {
    /// Flags before the file before what is assumed.
    pub(crate) fn of(args: &Args) -> Result<Self> {
        let file = match &args.config {
            Some(path) => read(path).with_context(|| format!("the configuration {}", path.display()))?,
            None => File::default(),
        };
        let state = args
            .state
            .clone()
            .or(file.state)
            .or_else(berth_ctl::default_state);
        let name = args.name.clone().or(file.name);
        Ok(Self {
            state: state.context("there is no home folder to keep the state in: give --state")?,
            name: Name::reduce(&name.unwrap_or_else(host_name)),
            radio: radio(args.radio.as_deref().or(file.radio.as_deref()))?,
            listen: args.listen.or(file.listen),
            serve: file.serve,
            serve_names: file.serve_names,
            upstream: args.upstream.clone().or(file.upstream),
            credentials: file.credentials,
            folders: folders(&file.folders)?,
            forward: file.forward,
            forward_rate: file.forward_rate,
            time_zone: match file.time_zone.as_deref() {
                None => TimeZone::system(),
                Some(name) => TimeZone::get(name).with_context(|| {
                    format!("this computer knows no time zone {name:?}: give one like \"Europe/Berlin\"")
                })?,
            },
            limits: Limits {
                spool_bytes_max: file.spool_max.map(|size| size.bytes),
                laptop_bytes_max: file.quota.map(|size| size.bytes),
            },
            log: match file.log {
                Level::Off => LevelFilter::OFF,
                Level::Error => LevelFilter::ERROR,
                Level::Warn => LevelFilter::WARN,
                Level::Info => LevelFilter::INFO,
                Level::Debug => LevelFilter::DEBUG,
                Level::Trace => LevelFilter::TRACE,
            },
        })
    }
}

impl Config {
    /// The file of the upstream's credentials, which may not be there.
    pub(crate) fn credentials(&self) -> PathBuf {
        let beside_the_state = || self.state.join("credentials.toml");
        self.credentials.clone().unwrap_or_else(beside_the_state)
    }
}

fn radio(spec: Option<&str>) -> Result<RadioSpec> {
    let spec = spec.unwrap_or("bluez");
    spec.parse()
        .map_err(|error| anyhow!("the radio {spec:?}: {error}"))
}

pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn folders(given: &BTreeMap<String, String>) -> Result<BTreeMap<Name, Name>> {
    let name = |text: &str| Name::parse(text).with_context(|| format!("{text:?} in [folders]"));
    let named = given
        .iter()
        .map(|(laptop, folder)| Ok((name(laptop)?, name(folder)?)));
    named.collect()
}

fn read(path: &Path) -> Result<File> {
    if fs::metadata(path)?.len() > FILE_SIZE_BYTES_MAX {
        bail!("it has more than {FILE_SIZE_BYTES_MAX} bytes");
    }
    parse(&fs::read_to_string(path)?)
}

fn parse(text: &str) -> Result<File> {
    let table: toml::Table = toml::from_str(text).map_err(|error| one_line(text, &error))?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let distance = |known: &&str| strsim::damerau_levenshtein(known, key);
        let nearest = KEYS.iter().copied().min_by_key(distance);
        let is_near = |known: &&str| distance(known) <= TYPING_ERROR_MAX.min(key.chars().count() / 2 + 1);
        match nearest.filter(is_near) {
            Some(known) => bail!("there is no key {key:?}: do you mean {known:?}?"),
            None => bail!("there is no key {key:?}: there are {}", KEYS.join(", ")),
        }
    }
    toml::from_str(text).map_err(|error| one_line(text, &error))
}

/// TOML's own errors draw the line in several lines.
fn one_line(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let message = error.message().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => anyhow!("line {}: {message}", before.matches('\n').count() + 1),
        None => anyhow!(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        assert_eq!(
            error("upstraem = \"/srv\"\n"),
            "there is no key \"upstraem\": do you mean \"upstream\"?"
        );
        assert_eq!(
            error("colour = 1\n"),
            "there is no key \"colour\": there are credentials, folders, forward, forward_rate, listen, log, name, \
             quota, radio, serve, serve_names, spool_max, state, time_zone, upstream"
        );
    }

    #[test]
    fn a_wrong_value_is_one_line_with_its_place() {
        for text in [
            "name = 7",
            "log = \"loud\"",
            "listen = \"here\"",
            "serve = 7701",
            "serve_names = \"hub\"",
            "forward = \"soon\"",
            "forward = 7",
            "quota = \"some\"",
            "spool_max = \"5 MB\"",
            "spool_max = 5",
            "forward = []",
            "forward = [\"01:00-05:00\", \"day 01:00-05:00\"]",
            "forward_rate = \"2 MB\"",
            "forward_rate = 2",
        ] {
            let error = error(&format!("# a comment\n{text}\n"));
            assert!(error.starts_with("line 2: "), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert!(error("name = \n").starts_with("line 1: "));
    }

    #[test]
    fn the_folder_of_a_laptop_has_a_name_that_leads_nowhere_else() {
        let given = |text: &str| folders(&parse(text).unwrap().folders);
        let named = given("[folders]\nlaptop = \"anna\"\n").unwrap();
        assert_eq!(named, [(Name::reduce("laptop"), Name::reduce("anna"))].into());
        for folder in ["../anna", "a/b", ""] {
            let refused = given(&format!("[folders]\nlaptop = {folder:?}\n")).unwrap_err();
            assert!(format!("{refused:#}").starts_with(&format!("{folder:?} in [folders]: a name has")));
        }
    }

    #[test]
    fn the_example_is_what_is_assumed() {
        let text = include_str!("../../../berthd.example.toml");
        let shown: String = text
            .lines()
            .filter_map(|line| line.strip_prefix('#').filter(|rest| rest.contains(" = ")))
            .map(|line| format!("{}\n", line.trim_start()))
            .collect();
        for text in [text, shown.as_str()] {
            let file = parse(text).unwrap();
            assert_eq!(file.forward, When::Auto);
            assert!(matches!(file.log, Level::Info));
        }
        assert_eq!(shown.lines().count(), KEYS.len(), "{shown}");
    }
}
