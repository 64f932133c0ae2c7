//! The Wi-Fi interface that wpa_supplicant has from us: what a neighbour sees of it is another one for each visit.
//!
//! Place: [`crate::bring_up`] gives it where wpa_supplicant has none, [`crate::owner`] takes it back after each group.
//! Specification: `p2p_device_random_mac_addr` in wpa_supplicant's `config.h`. wpa_supplicant takes these settings from a
//! configuration file alone, and for an interface that it is about to have.
//! Invariant: an interface of anybody else's, or that somebody else uses, is left as it is. Ours is known by its file, after a crash too.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand_core::{OsRng, RngCore};
use tracing::{debug, info, warn};
use zbus::{Connection, Variant};

use crate::kernel::has_p2p_device;
use crate::supplicant::{netdevs, supplicant};

/// In the folder that is ours alone; there only while wpa_supplicant reads it.
const FILE: &str = "wpa_supplicant.conf";

/// Gives this interface to wpa_supplicant, as it is without a folder for a file.
///
/// # Errors
/// wpa_supplicant does not take it.
pub(crate) async fn give(bus: &Connection, folder: Option<&Path>, name: &str) -> zbus::Result<()> {
    let supplicant = supplicant(bus).await?;
    let arguments = || {
        BTreeMap::from([
            ("Ifname", Variant::from(name)),
            ("Driver", Variant::from("nl80211")),
        ])
    };
    if let Some(folder) = folder {
        let has_device = has_p2p_device(name).await.unwrap_or_else(|error| {
            debug!(%error, name, "the kernel does not tell what the radio is like");
            None
        });
        match File::create(folder, &configuration(has_device, random_address())) {
            Ok(file) => {
                let path = file.0.display().to_string();
                let mut arguments = arguments();
                arguments.insert("ConfigFile", Variant::from(path.as_str()));
                match supplicant.create_interface(arguments).await {
                    Ok(_) => return Ok(()),
                    // It may be kept from our folder.
                    Err(error) => debug!(%error, name, "wpa_supplicant does not take a file"),
                }
            }
            Err(error) => warn!(%error, "no file for wpa_supplicant"),
        }
    }
    supplicant.create_interface(arguments()).await?;
    info!(name, "Wi-Fi addresses of groups are the adapter's own");
    Ok(())
}

/// Takes back what was given, and with it every group there.
pub(crate) async fn take_back(bus: &Connection, folder: &Path) {
    let Ok(file) = path(folder) else { return };
    // Without wpa_supplicant there are no interfaces to take back.
    for netdev in netdevs(bus).await.unwrap_or_default() {
        let taken = async {
            let interface = netdev.interface().await?;
            // With a network it has become somebody else's too.
            if Path::new(&interface.config_file().await?) == file && interface.networks().await?.is_empty() {
                supplicant(bus).await?.remove_interface(&netdev.path).await?;
            }
            zbus::Result::Ok(())
        };
        if let Err(error) = taken.await {
            debug!(%error, netdev.name, "wpa_supplicant keeps the interface");
        }
    }
}

/// As wpa_supplicant knows it, whatever its working folder is.
fn path(folder: &Path) -> io::Result<PathBuf> {
    Ok(folder.canonicalize()?.join(FILE))
}

/// Removed when dropped.
struct File(PathBuf);

impl File {
    fn create(folder: &Path, text: &str) -> io::Result<Self> {
        let path = path(folder)?;
        // What a crash left.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut open = OpenOptions::new();
        let mut file = open.write(true).create_new(true).mode(0o600).open(&path)?;
        let it = Self(path);
        file.write_all(text.as_bytes())?;
        Ok(it)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            warn!(%error, "a file for wpa_supplicant stays");
        }
    }
}

/// A radio without a P2P device looks for groups with its interface's own address, which can be changed (1). That of a
/// P2P device can only be given as it is made (2), which older drivers ignore; asked to change it wpa_supplicant gives
/// Wi-Fi Direct up. So where it is not known what the radio has, nothing is asked.
fn configuration(has_device: Option<bool>, address: [u8; 6]) -> String {
    let mut lines = vec![
        "update_config=0".to_owned(),
        "p2p_interface_random_mac_addr=1".to_owned(),
    ];
    match has_device {
        Some(true) => {
            let address: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push("p2p_device_random_mac_addr=2".to_owned());
            lines.push(format!("p2p_device_persistent_mac_addr={}", address.join(":")));
        }
        Some(false) => lines.push("p2p_device_random_mac_addr=1".to_owned()),
        None => {}
    }
    lines.push(String::new());
    lines.join("\n")
}

/// One that no maker has given (the second lowest bit of the first byte), of a single station (the lowest).
fn random_address() -> [u8; 6] {
    let mut address = [0; 6];
    OsRng.fill_bytes(&mut address);
    let [first, ..] = &mut address;
    *first = *first & !1 | 2;
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_device_is_fresh_and_nobodys() {
        let addresses = [random_address(), random_address()];
        assert_ne!(addresses[0], addresses[1]);
        assert!(addresses.iter().all(|address| address[0] & 3 == 2));
    }

    #[test]
    fn a_radio_is_asked_for_no_more_than_it_can() {
        let of = |has_device| configuration(has_device, [2, 0, 0, 0, 0, 0x1f]);
        assert!(of(Some(true)).ends_with("_addr=2\np2p_device_persistent_mac_addr=02:00:00:00:00:1f\n"));
        assert!(of(Some(false)).ends_with("p2p_device_random_mac_addr=1\n"));
        assert_eq!(of(None), "update_config=0\np2p_interface_random_mac_addr=1\n");
    }

    #[test]
    fn the_file_is_ours_alone_and_goes() {
        use std::os::unix::fs::{MetadataExt, symlink};

        let folder = std::env::temp_dir().join(format!("berth-given-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let other = folder.join("other");
        fs::write(&other, "theirs").unwrap();
        symlink(&other, folder.join(FILE)).unwrap();
        let file = File::create(&folder, "ours").unwrap();
        assert_eq!(fs::read_to_string(&file.0).unwrap(), "ours");
        assert_eq!(fs::symlink_metadata(&file.0).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        let path = file.0.clone();
        drop(file);
        assert!(!path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
