//! Who signed what: the only thing the bridge asks of the keys.
//!
//! Place: `berth-pairing` holds the keys and does the arithmetic; its `Identity` is handed in as this trait.

use berth_wire::Signed;

use crate::LaptopId;

/// Checks laptops' signatures and makes the hub's own. Ed25519 over `context || body`.
pub trait Signatures: Send + Sync {
    /// Did `laptop` sign `body`? Strict: a malformed key or signature is `false`.
    fn verify(&self, laptop: &LaptopId, context: &[u8], body: &[u8], signature: &[u8]) -> bool;
    /// The hub's signature, 64 bytes.
    fn sign(&self, context: &[u8], body: &[u8]) -> Vec<u8>;
    /// The hub's Ed25519 public key, as it stands in manifests and receipts.
    fn hub(&self) -> [u8; 32];
    /// Is this the hub's own signature?
    fn verify_own(&self, context: &[u8], body: &[u8], signature: &[u8]) -> bool {
        self.verify(&LaptopId(self.hub()), context, body, signature)
    }
}

impl Signatures for berth_pairing::Identity {
    fn verify(&self, laptop: &LaptopId, context: &[u8], body: &[u8], signature: &[u8]) -> bool {
        berth_pairing::verify(&berth_pairing::DeviceId(laptop.0), context, body, signature).is_ok()
    }

    fn sign(&self, context: &[u8], body: &[u8]) -> Vec<u8> {
        berth_pairing::Identity::sign(self, context, body).to_vec()
    }

    fn hub(&self) -> [u8; 32] {
        self.device().0
    }
}

/// Signs `body` as the hub.
pub(crate) fn signed(signatures: &dyn Signatures, context: &[u8], body: Vec<u8>) -> Signed {
    Signed {
        signature: signatures.sign(context, &body),
        body,
    }
}
