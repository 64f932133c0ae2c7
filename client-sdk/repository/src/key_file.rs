//! Key files: the master key, locked with a password.
//!
//! Specification: restic's design, section "Keys, Encryption and MAC". scrypt (RFC 7914) makes a key from the password;
//! under it the master key's JSON is sealed in `data`.

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::json::{self, base64_bytes};
use crate::limits::{SCRYPT_MEMORY_BYTES_MAX, SCRYPT_WORK_MAX, SMALL_FILE_BYTES_MAX};
use crate::{KeyError, MasterKey, Nonce, RecoveryKey, SealedFile, Timestamp};

const SALT_BYTES: usize = 64;

/// What opening a key file costs: `128 * r * (N + p)` bytes of memory, and time in proportion to `N * r * p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptCost {
    log_n: u8,
    r: u32,
    p: u32,
}

impl ScryptCost {
    /// restic's default: `N` = 32,768, `r` = 8, `p` = 1; 32 MiB and about 0.1 s. A recovery key has 130 random bits, so
    /// no cost is needed to protect it; this is for passwords that the owner adds with restic.
    pub const DEFAULT: Self = Self {
        log_n: 15,
        r: 8,
        p: 1,
    };

    /// The least that scrypt allows: only for tests.
    pub const CHEAPEST: Self = Self { log_n: 1, r: 1, p: 1 };

    /// `N` must be a power of two above 1.
    ///
    /// # Errors
    /// [`KeyError::Cost`]: not allowed by scrypt, or above [`SCRYPT_MEMORY_BYTES_MAX`] or [`SCRYPT_WORK_MAX`].
    pub fn new(n: u64, r: u32, p: u32) -> Result<Self, KeyError> {
        let memory = (u128::from(n) + u128::from(p)) * u128::from(r) * 128;
        let work = u128::from(n) * u128::from(r) * u128::from(p);
        if n < 2
            || !n.is_power_of_two()
            || memory > SCRYPT_MEMORY_BYTES_MAX.into()
            || work > SCRYPT_WORK_MAX.into()
        {
            return Err(KeyError::Cost);
        }
        let log_n = u8::try_from(n.ilog2()).map_err(|_| KeyError::Cost)?;
        let cost = Self { log_n, r, p };
        cost.params().map(|_| cost)
    }

    fn params(self) -> Result<scrypt::Params, KeyError> {
        scrypt::Params::new(self.log_n, self.r, self.p, MasterKey::SIZE_BYTES).map_err(|_| KeyError::Cost)
    }

    fn derive(self, password: &[u8], salt: &[u8]) -> Result<MasterKey, KeyError> {
        let mut key = Zeroizing::new([0; MasterKey::SIZE_BYTES]);
        scrypt::scrypt(password, salt, &self.params()?, key.as_mut()).map_err(|_| KeyError::Cost)?;
        Ok(MasterKey::from_derived(key))
    }
}

/// What a key file tells in the clear about its making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOwner {
    /// When.
    pub created: Timestamp,
    /// By which user.
    pub username: String,
    /// On which machine.
    pub hostname: String,
}

/// A file of `keys/`, named by its SHA-256. A repository may have several, each with its own password.
#[derive(Serialize, Deserialize)]
pub struct KeyFile {
    // rustic leaves these three out where it does not know them.
    #[serde(default)]
    created: Timestamp,
    #[serde(default)]
    username: String,
    #[serde(default)]
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    #[serde(with = "base64_bytes")]
    salt: Vec<u8>,
    #[serde(with = "base64_bytes")]
    data: Vec<u8>,
}

/// The master key as restic writes it inside of a key file.
#[derive(Serialize, Deserialize)]
struct MasterKeyJson {
    mac: MacJson,
    #[serde(with = "base64_bytes")]
    encrypt: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct MacJson {
    #[serde(with = "base64_bytes")]
    k: Vec<u8>,
    #[serde(with = "base64_bytes")]
    r: Vec<u8>,
}

impl KeyFile {
    /// Locks `master` with the recovery key. Takes as long as `cost` says.
    ///
    /// # Errors
    /// [`KeyError::Cost`], never for the constants of [`ScryptCost`].
    pub fn create(
        master: &MasterKey,
        password: &RecoveryKey,
        cost: ScryptCost,
        owner: &KeyOwner,
        rng: &mut impl CryptoRngCore,
    ) -> Result<SealedFile, KeyError> {
        let mut salt = vec![0; SALT_BYTES];
        let mut nonce: Nonce = [0; 16];
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut nonce);
        let user_key = cost.derive(password.as_str().as_bytes(), &salt)?;
        let file = Self {
            created: owner.created,
            username: owner.username.clone(),
            hostname: owner.hostname.clone(),
            kdf: "scrypt".to_owned(),
            n: 1 << cost.log_n,
            r: cost.r,
            p: cost.p,
            salt,
            data: user_key.seal(nonce, &MasterKeyJson::from(master).to_json()),
        };
        Ok(SealedFile::new(json::to_vec(&file)))
    }

    /// Unlocks a key file, made by Berth or restic. `password`: [`RecoveryKey::as_str`], or any password that the owner
    /// has added with restic. Takes as long as the cost in the file says, at most [`SCRYPT_WORK_MAX`].
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(bytes: &[u8], password: &str) -> Result<MasterKey, KeyError> {
        if bytes.len() > SMALL_FILE_BYTES_MAX {
            return Err(KeyError::Malformed);
        }
        let file: Self = json::from_slice(bytes).map_err(|_| KeyError::Malformed)?;
        if file.kdf != "scrypt" {
            return Err(KeyError::Malformed);
        }
        let cost = ScryptCost::new(file.n, file.r, file.p)?;
        let user_key = cost.derive(password.as_bytes(), &file.salt)?;
        let master = user_key
            .open(&file.data)
            .map(Zeroizing::new)
            .map_err(|_| KeyError::WrongPassword)?;
        let master: MasterKeyJson = json::from_slice(&master).map_err(|_| KeyError::Malformed)?;
        master.to_master_key()
    }
}

impl From<&MasterKey> for MasterKeyJson {
    fn from(master: &MasterKey) -> Self {
        let (encrypt, k, r) = master.parts();
        Self {
            mac: MacJson {
                k: k.to_vec(),
                r: r.to_vec(),
            },
            encrypt: encrypt.to_vec(),
        }
    }
}

impl MasterKeyJson {
    fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it (about 170 bytes), so that growing leaves no copy behind.
        let mut json = Zeroizing::new(Vec::with_capacity(512));
        json::write(self, &mut json);
        json
    }

    fn to_master_key(&self) -> Result<MasterKey, KeyError> {
        let bytes = Zeroizing::new([self.encrypt.as_slice(), &self.mac.k, &self.mac.r].concat());
        let bytes = bytes.as_slice().try_into().map_err(|_| KeyError::Malformed)?;
        MasterKey::from_bytes(bytes)
    }
}

impl Drop for MasterKeyJson {
    fn drop(&mut self) {
        self.encrypt.zeroize();
        self.mac.k.zeroize();
        self.mac.r.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    fn created() -> (MasterKey, RecoveryKey, SealedFile) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (master, password) = (MasterKey::generate(&mut rng), RecoveryKey::generate(&mut rng));
        let owner = KeyOwner {
            created: Timestamp::from_unix_ns(5),
            username: "me".to_owned(),
            hostname: "laptop".to_owned(),
        };
        let file = KeyFile::create(&master, &password, ScryptCost::CHEAPEST, &owner, &mut rng).unwrap();
        (master, password, file)
    }

    #[test]
    fn the_recovery_key_opens_and_no_other() {
        let (master, password, file) = created();
        assert_eq!(file.id, crate::Id::of(&file.bytes));
        assert_eq!(KeyFile::open(&file.bytes, password.as_str()).unwrap(), master);
        assert!(matches!(
            KeyFile::open(&file.bytes, "other"),
            Err(KeyError::WrongPassword)
        ));
    }

    /// Made by restic 0.14 with the password `x`.
    #[test]
    fn opens_what_restic_made() {
        let file = include_bytes!("../tests/fixtures/key.json");
        let master = KeyFile::open(file, "x").unwrap();
        let (_, k, _) = master.parts();
        assert_eq!(data_encoding::BASE64.encode(k), "ralV4JF7gAk64RQnzlLP6w==");
        let written: KeyFile = json::from_slice(file).unwrap();
        assert_eq!(json::to_vec(&written), file.as_slice());
    }

    #[test]
    fn costs_that_would_exhaust_the_machine_are_refused() {
        for (n, r, p) in [
            (0, 8, 1),
            (1, 8, 1),
            (3, 8, 1),
            (1 << 40, 8, 1),
            (1 << 15, 1 << 20, 1),
            (2, 1, u32::MAX),
            (u64::MAX, u32::MAX, u32::MAX),
            (2, 0, 1),
            (2, 1, 0),
            (1 << 16, 1, 1),
        ] {
            assert!(
                matches!(ScryptCost::new(n, r, p), Err(KeyError::Cost)),
                "{n} {r} {p}"
            );
        }
        assert_eq!(ScryptCost::new(32_768, 8, 1).unwrap(), ScryptCost::DEFAULT);
        assert_eq!(ScryptCost::new(2, 1, 1).unwrap(), ScryptCost::CHEAPEST);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let (_, password, file) = created();
        for bytes in [
            &b""[..],
            b"{}",
            b"null",
            &file.bytes[1..],
            &[b' '; SMALL_FILE_BYTES_MAX + 1],
        ] {
            assert!(matches!(
                KeyFile::open(bytes, password.as_str()),
                Err(KeyError::Malformed)
            ));
        }
        for position in 0..file.bytes.len() {
            let mut damaged = file.bytes.clone();
            damaged[position] ^= 4;
            let _ = KeyFile::open(&damaged, password.as_str()); // clear fields may change, nothing may panic
        }
    }
}
