//! The real restic, judge of the format. Its password goes by file, never by argument.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// Why restic was not able to do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResticError {
    /// It is not installed.
    #[error("restic is not installed: run `apt-get install restic`, or `./check`, which does")]
    Missing,
    /// It could not be started.
    #[error("restic can't be started")]
    Start(#[source] io::Error),
    /// It ended with an error.
    #[error("restic {command} failed ({status}):\n{output}")]
    Failed {
        /// Its command.
        command: String,
        /// How it ended.
        status: String,
        /// All it said.
        output: String,
    },
    /// Its answer was not the JSON expected.
    #[error("restic's answer can't be read")]
    Answer(#[source] serde_json::Error),
}

/// A snapshot as restic lists it.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct ResticSnapshot {
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339 with nanoseconds.
    pub time: String,
    /// Tags, in the order in which they were given.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The laptop's name.
    pub hostname: String,
    /// Absolute paths.
    pub paths: Vec<PathBuf>,
}

/// One repository and the file with its password.
#[derive(Debug, Clone)]
pub struct Restic {
    repository: PathBuf,
    password_file: PathBuf,
    cache: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Restic {
    /// A repository in a folder; nothing is read yet.
    #[must_use]
    pub fn new(repository: impl Into<PathBuf>, password_file: impl Into<PathBuf>) -> Self {
        Self {
            repository: repository.into(),
            password_file: password_file.into(),
            cache: None,
            environment: Vec::new(),
        }
    }

    /// The same with a variable of the environment: what a repository far away asks for.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same repository under another name: the URL of its server.
    #[must_use]
    pub fn at(self, repository: impl Into<PathBuf>) -> Self {
        Self {
            repository: repository.into(),
            ..self
        }
    }

    /// The same with a cache in `folder`, as restic works by default. Without it restic keeps none.
    #[must_use]
    pub fn with_cache(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            cache: Some(folder.into()),
            ..self
        }
    }

    /// Makes the repository, version 2.
    ///
    /// # Errors
    /// Those of restic.
    pub fn init(&self) -> Result<(), ResticError> {
        self.run("init", ["--repository-version", "2"]).map(drop)
    }

    /// Backs up a folder by its absolute path.
    ///
    /// # Errors
    /// Those of restic; a file that it can't read is one of them.
    pub fn backup(&self, folder: &Path) -> Result<(), ResticError> {
        self.run("backup", [folder]).map(drop)
    }

    /// Checks everything, every byte of every pack too.
    ///
    /// # Errors
    /// [`ResticError::Failed`] with what is wrong.
    pub fn check(&self) -> Result<(), ResticError> {
        self.run("check", ["--read-data"]).map(drop)
    }

    /// Restores a snapshot (id or `latest`): `/a/b` becomes `TARGET/a/b`.
    ///
    /// # Errors
    /// Those of restic.
    pub fn restore(&self, snapshot: &str, target: &Path) -> Result<(), ResticError> {
        self.run(
            "restore",
            [snapshot.as_ref(), "--target".as_ref(), target.as_os_str()],
        )
        .map(drop)
    }

    /// All snapshots, oldest first.
    ///
    /// # Errors
    /// Those of restic.
    pub fn snapshots(&self) -> Result<Vec<ResticSnapshot>, ResticError> {
        let answer = self.run("snapshots", ["--json"])?;
        // An empty repository answers `null`.
        let snapshots: Option<Vec<ResticSnapshot>> =
            serde_json::from_slice(&answer).map_err(ResticError::Answer)?;
        let mut snapshots = snapshots.unwrap_or_default();
        snapshots.sort_by(|a, b| a.time.cmp(&b.time));
        Ok(snapshots)
    }

    /// Runs a command on the repository; gives its standard output.
    ///
    /// # Errors
    /// [`ResticError::Missing`], [`ResticError::Start`], [`ResticError::Failed`].
    pub fn run<A: AsRef<OsStr>>(
        &self,
        command: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Vec<u8>, ResticError> {
        let mut restic = Command::new("restic");
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"RESTIC_") {
                restic.env_remove(name);
            }
        }
        match &self.cache {
            Some(folder) => restic.arg("--cache-dir").arg(folder),
            None => restic.arg("--no-cache"),
        };
        restic.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = restic
            .arg("--repo")
            .arg(&self.repository)
            .arg("--password-file")
            .arg(&self.password_file)
            .arg(command)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ResticError::Missing,
                _ => ResticError::Start(error),
            })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(ResticError::Failed {
            command: command.to_owned(),
            status: output.status.to_string(),
            output: [output.stdout, output.stderr]
                .iter()
                .map(|text| String::from_utf8_lossy(text))
                .collect(),
        })
    }
}
