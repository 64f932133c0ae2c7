//! The file of the socket: the owner's alone, never one that another air uses, and gone afterwards.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::Mode;
use rustix::process::umask;

/// The file of a listening socket; removed with this value, if it is still the same.
pub(crate) struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

/// Listens at `path`. A file that a dead process left there is replaced. To be called before there are other threads: the
/// mode of new files changes meanwhile.
pub(crate) fn listen(path: &Path) -> Result<(UnixListener, SocketFile)> {
    let at = || format!("can't listen at {}", path.display());
    let listener = match bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_dead(path)?;
            bind(path).with_context(at)?
        }
        bound => bound.with_context(at)?,
    };
    let device_and_inode = identity(path).with_context(at)?;
    let file = SocketFile {
        path: path.to_owned(),
        device_and_inode,
    };
    Ok((listener, file))
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

fn remove_dead(path: &Path) -> Result<()> {
    let shown = path.display();
    let found = path
        .symlink_metadata()
        .with_context(|| format!("{shown} can't be looked at"))?;
    if !found.file_type().is_socket() {
        bail!("{shown} is there and no socket: choose another path, or remove it");
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("an air is open at {shown} already: use that one, or choose another path"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).with_context(|| format!("{shown} is left over and can't be removed"))
        }
        Err(error) => Err(error).with_context(|| format!("{shown} is in use: choose another path")),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = path.symlink_metadata()?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.device_and_inode) {
            // It is replaced by the next air otherwise.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
