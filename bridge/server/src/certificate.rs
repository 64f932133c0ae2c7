//! The hub's own certificate: made on first use, kept in its state folder.
//!
//! Place: the endpoint shows it; the owner of a server copies the PEM file there, or compares the fingerprint.
//! Invariant: key and certificate stay what they are until the names do not fit any more; then both are made anew.

use std::io;

use berth_disk::Disk;
use berth_repository::Id;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use zeroize::Zeroizing;

/// The certificate, below the state folder. A server that calls needs a copy.
pub const CERTIFICATE_FILE: &str = "server-certificate.pem";

/// Certificate and key together, written in one step.
const STORED: &str = "server-key.pem";

const STORED_SIZE_BYTES_MAX: u64 = 64 * 1024;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Key and certificate.
pub struct Certificate {
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) chain: CertificateDer<'static>,
    pem: String,
}

/// A certificate that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A name that can't stand in one.
    #[error("{0:?} can't stand in a certificate: give host names and addresses")]
    Name(String),
    /// It can't be read or written.
    #[error("the certificate can't be kept in the state folder")]
    Disk(#[from] io::Error),
    /// It can't be made.
    #[error("the certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl Certificate {
    /// The one that is kept, if it stands for all of `names` (host names and addresses); else a new one that does.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn open(disk: &dyn Disk, names: &[String]) -> Result<Self, CertificateError> {
        let wanted: Vec<ServerName<'_>> = names
            .iter()
            .map(|name| ServerName::try_from(name.as_str()).map_err(|_| CertificateError::Name(name.clone())))
            .collect::<Result<_, _>>()?;
        let kept = match disk.read(STORED, STORED_SIZE_BYTES_MAX) {
            // What is damaged is made anew.
            Ok(pem) => Self::of(pem).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let own = match kept.filter(|kept| kept.stands_for(&wanted)) {
            Some(kept) => kept,
            None => {
                let made = rcgen::generate_simple_self_signed(names)?;
                let both = [made.signing_key.serialize_pem(), made.cert.pem()].concat();
                berth_disk::replace(disk, STORED, both.as_bytes())?;
                Self::of(both.into_bytes())?
            }
        };
        let shown = disk.read(CERTIFICATE_FILE, STORED_SIZE_BYTES_MAX);
        if shown.ok().as_deref() != Some(own.pem.as_bytes()) {
            berth_disk::replace(disk, CERTIFICATE_FILE, own.pem.as_bytes())?;
        }
        Ok(own)
    }

    /// Can it stand in a certificate?
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        ServerName::try_from(name).is_ok()
    }

    fn of(both: Vec<u8>) -> io::Result<Self> {
        let damaged = |_| io::Error::from(io::ErrorKind::InvalidData);
        let both = Zeroizing::new(String::from_utf8(both).map_err(|_| io::ErrorKind::InvalidData)?);
        let begin = both.find(BEGIN).ok_or(io::ErrorKind::InvalidData)?;
        let (key, pem) = both.split_at(begin);
        Ok(Self {
            key: PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(damaged)?,
            chain: CertificateDer::from_pem_slice(pem.as_bytes()).map_err(damaged)?,
            pem: pem.to_owned(),
        })
    }

    fn stands_for(&self, names: &[ServerName<'_>]) -> bool {
        ParsedCertificate::try_from(&self.chain)
            .is_ok_and(|parsed| names.iter().all(|name| verify_server_name(&parsed, name).is_ok()))
    }

    /// SHA-256 of the certificate, as browsers and `openssl x509 -fingerprint -sha256` show it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digits = Id::of(&self.chain).as_bytes().map(|byte| format!("{byte:02X}"));
        digits.join(":")
    }
}

#[cfg(test)]
mod tests {
    use berth_disk::OsDisk;

    use super::*;

    #[test]
    fn a_certificate_stays_until_its_names_do_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let open = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Certificate::open(&disk, &names).map(|made| made.fingerprint())
        };
        let first = open(&["desk", "127.0.0.1"]).unwrap();
        assert_eq!(open(&["desk", "127.0.0.1"]).unwrap(), first);
        assert_eq!(open(&["desk"]).unwrap(), first);
        let second = open(&["desk", "192.168.1.5"]).unwrap();
        assert_ne!(second, first);
        let pem = disk.read(CERTIFICATE_FILE, STORED_SIZE_BYTES_MAX).unwrap();
        assert!(pem.starts_with(BEGIN.as_bytes()));
        assert!(!pem.windows(7).any(|piece| piece == b"PRIVATE"));
        assert!(open(&["no name"]).is_err());
        // Damaged: better a new one than a hub that nobody reaches.
        std::fs::write(folder.path().join(STORED), "x").unwrap();
        assert_ne!(open(&["desk", "192.168.1.5"]).unwrap(), second);
    }
}
