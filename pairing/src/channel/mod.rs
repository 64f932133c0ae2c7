//! What follows a finished handshake: numbered, sealed messages in both directions.
//!
//! Place: a handshake of [`crate::session`] or [`crate::link`] -> [`Channel`] -> frames of a carrier or stream.
//! Specification: transport messages of Noise (revision 34, section 5.1), with `REKEY` (4.2) after every
//! [`REKEY_AFTER_MESSAGES`] messages of a direction. The keys are snow's; they are used through ring directly so that
//! the two directions are independent values, and a message is sealed and opened where it lies.
//! Invariant: a number is used once per key, and a message that does not open changes nothing.

#[cfg(test)]
mod tests;

use std::fmt;

use bytes::{Bytes, BytesMut};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Longest sealed message (Noise, section 3).
pub const MESSAGE_SIZE_BYTES_MAX: usize = 65_535;

/// What sealing adds to a message.
pub const TAG_SIZE_BYTES: usize = 16;

/// Longest message before it is sealed.
pub const PLAIN_SIZE_BYTES_MAX: usize = MESSAGE_SIZE_BYTES_MAX - TAG_SIZE_BYTES;

/// Both sides take a new key after this many messages of a direction. 2^16 messages are at most 4 GiB: far below the
/// 64 GiB after which AES-GCM's margin shrinks, and often enough that a real visit goes through it.
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 16;

/// Length field before a message on a stream.
const LENGTH_SIZE_BYTES: usize = 2;

/// The two ciphers of a channel; a session agrees on what the weaker of the two machines does faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherKind {
    /// ChaCha20-Poly1305: fast everywhere.
    ChaChaPoly,
    /// AES-256-GCM: faster where the processor has AES instructions.
    AesGcm,
}

/// Whether AES-256-GCM is faster than ChaCha20-Poly1305 on this machine. For programs: the session's machines are told, so
/// that a seed gives the same session everywhere.
#[must_use]
pub fn fast_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// Both directions of a secured channel.
#[derive(Debug)]
pub struct Channel {
    sender: Sender,
    receiver: Receiver,
    handshake_hash: [u8; 32],
}

impl Channel {
    pub(crate) fn new(
        cipher: CipherKind,
        sending: &[u8; 32],
        receiving: &[u8; 32],
        handshake_hash: [u8; 32],
    ) -> Self {
        Self {
            sender: Sender(Half::new(cipher, sending)),
            receiver: Receiver(Half::new(cipher, receiving)),
            handshake_hash,
        }
    }

    /// Names this handshake among all others; equal on both sides, not secret.
    #[must_use]
    pub const fn handshake_hash(&self) -> &[u8; 32] {
        &self.handshake_hash
    }

    /// The cipher of both directions.
    #[must_use]
    pub const fn cipher(&self) -> CipherKind {
        self.sender.0.cipher
    }

    /// Seals one message of at most [`PLAIN_SIZE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`ChannelError::TooLong`]: nothing was sealed.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Bytes, ChannelError> {
        let mut message = BytesMut::with_capacity(plain.len() + TAG_SIZE_BYTES);
        self.sender.seal(plain, &mut message)?;
        Ok(message.freeze())
    }

    /// Opens the peer's next message.
    ///
    /// # Errors
    /// Those of [`Receiver::open`].
    pub fn open(&mut self, message: &[u8]) -> Result<Bytes, ChannelError> {
        self.receiver.open(BytesMut::from(message)).map(BytesMut::freeze)
    }

    /// The two directions, to be used from two threads.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// Seals messages, in the order in which the peer has to open them.
#[derive(Debug)]
pub struct Sender(Half);

impl Sender {
    /// Appends `plain`, sealed, to `out`: it grows by [`TAG_SIZE_BYTES`] more than `plain` has.
    ///
    /// # Errors
    /// [`ChannelError::TooLong`] or [`ChannelError::Exhausted`]: `out` is as before, nothing was sealed.
    pub fn seal(&mut self, plain: &[u8], out: &mut BytesMut) -> Result<(), ChannelError> {
        self.0.check(plain.len())?;
        out.reserve(plain.len() + TAG_SIZE_BYTES);
        let start = out.len();
        out.extend_from_slice(plain);
        self.seal_in_place(out, start)
    }

    /// Seals `buffer[start..]` where it lies and appends the tag: for a message that was built in `buffer`.
    ///
    /// # Errors
    /// As [`Sender::seal`].
    ///
    /// # Panics
    /// If `start` is beyond the buffer's end: a mistake of the caller.
    pub fn seal_in_place(&mut self, buffer: &mut BytesMut, start: usize) -> Result<(), ChannelError> {
        assert!(start <= buffer.len(), "a message that starts beyond its buffer");
        self.0.check(buffer.len() - start)?;
        let tag = self
            .0
            .key
            .seal_in_place_separate_tag(self.0.nonce(), Aad::empty(), &mut buffer[start..])
            .map_err(|_| ChannelError::TooLong {
                size_bytes: buffer.len() - start,
            })?;
        buffer.extend_from_slice(tag.as_ref());
        self.0.advance();
        Ok(())
    }

    /// Like [`Sender::seal`], with the length (2 bytes, big-endian) put before it: for a stream that knows no messages.
    ///
    /// # Errors
    /// As [`Sender::seal`].
    pub fn seal_framed(&mut self, plain: &[u8], out: &mut BytesMut) -> Result<(), ChannelError> {
        self.0.check(plain.len())?;
        let sealed = u16::try_from(plain.len() + TAG_SIZE_BYTES).map_err(|_| ChannelError::TooLong {
            size_bytes: plain.len(),
        })?;
        out.reserve(LENGTH_SIZE_BYTES + usize::from(sealed));
        out.extend_from_slice(&sealed.to_be_bytes());
        self.seal(plain, out)
    }
}

/// Opens messages, in the order in which the peer sealed them.
#[derive(Debug)]
pub struct Receiver(Half);

impl Receiver {
    /// Opens the next message where it lies.
    ///
    /// # Errors
    /// [`ChannelError::Forged`]: it is not the peer's next message; the state is as before. On a carrier that keeps the
    /// order this is an attack or a bug: end the visit.
    pub fn open(&mut self, mut message: BytesMut) -> Result<BytesMut, ChannelError> {
        if message.len() > MESSAGE_SIZE_BYTES_MAX {
            return Err(ChannelError::TooLong {
                size_bytes: message.len(),
            });
        }
        let plain = message
            .len()
            .checked_sub(TAG_SIZE_BYTES)
            .ok_or(ChannelError::Forged)?;
        self.0.check(plain)?;
        self.0
            .key
            .open_in_place(self.0.nonce(), Aad::empty(), &mut message)
            .map_err(|_| ChannelError::Forged)?;
        message.truncate(plain);
        self.0.advance();
        Ok(message)
    }

    /// Takes the next message of [`Sender::seal_framed`] out of what a stream has brought, if it is there whole.
    ///
    /// # Errors
    /// As [`Receiver::open`]; the stream is of no use any more then.
    pub fn open_framed(&mut self, stream: &mut BytesMut) -> Result<Option<BytesMut>, ChannelError> {
        let Some(length) = stream.first_chunk::<LENGTH_SIZE_BYTES>() else {
            return Ok(None);
        };
        let end = LENGTH_SIZE_BYTES + usize::from(u16::from_be_bytes(*length));
        if stream.len() < end {
            return Ok(None);
        }
        let mut message = stream.split_to(end);
        self.open(message.split_off(LENGTH_SIZE_BYTES)).map(Some)
    }
}

/// One direction: a key and the number of its next message.
struct Half {
    cipher: CipherKind,
    /// Boxed: AES-GCM's tables take 500 bytes, and a channel is moved about.
    key: Box<LessSafeKey>,
    number: u64,
}

impl Half {
    fn new(cipher: CipherKind, key: &[u8; 32]) -> Self {
        Self {
            cipher,
            key: aead_key(cipher, key),
            number: 0,
        }
    }

    const fn check(&self, plain_size_bytes: usize) -> Result<(), ChannelError> {
        if plain_size_bytes > PLAIN_SIZE_BYTES_MAX {
            return Err(ChannelError::TooLong {
                size_bytes: plain_size_bytes,
            });
        }
        // The last number is reserved for `REKEY`.
        if self.number == u64::MAX {
            return Err(ChannelError::Exhausted);
        }
        Ok(())
    }

    fn nonce(&self) -> Nonce {
        nonce(self.cipher, self.number)
    }

    fn advance(&mut self) {
        self.number += 1;
        if self.number.is_multiple_of(REKEY_AFTER_MESSAGES) {
            let mut next = Zeroizing::new([0; 32]);
            let _tag = self
                .key
                .seal_in_place_separate_tag(nonce(self.cipher, u64::MAX), Aad::empty(), &mut next[..])
                .expect("32 bytes are within the cipher's limit");
            self.key = aead_key(self.cipher, &next);
        }
    }
}

fn aead_key(cipher: CipherKind, key: &[u8; 32]) -> Box<LessSafeKey> {
    let algorithm = match cipher {
        CipherKind::ChaChaPoly => &CHACHA20_POLY1305,
        CipherKind::AesGcm => &AES_256_GCM,
    };
    let key = UnboundKey::new(algorithm, key).expect("both ciphers take a key of 32 bytes");
    Box::new(LessSafeKey::new(key))
}

/// Noise, section 12: 4 zero bytes and the number, little-endian for ChaChaPoly and big-endian for AES-GCM.
fn nonce(cipher: CipherKind, number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&match cipher {
        CipherKind::ChaChaPoly => number.to_le_bytes(),
        CipherKind::AesGcm => number.to_be_bytes(),
    });
    Nonce::assume_unique_for_key(bytes)
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half")
            .field("cipher", &self.cipher)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A message that was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// Longer than a message may be.
    #[error("a message of {size_bytes} bytes is too long")]
    TooLong {
        /// Its size.
        size_bytes: usize,
    },
    /// Not the peer's next message: changed, repeated, left out, or somebody else's.
    #[error("a message that is not the peer's next one")]
    Forged,
    /// 2^64 messages.
    #[error("the channel has no numbers left")]
    Exhausted,
}

impl ChannelError {
    /// What the person at the desk can do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::TooLong { .. } | Self::Exhausted => "Laptop and hub disagree. Update both.",
            Self::Forged => {
                "Something between laptop and hub changed what was sent. The backup goes on at the next visit."
            }
        }
    }
}
