//! The laptop's keys and the hub's, as a visit needs them.

use std::sync::Arc;

use berth_client_sdk::Keys;
use berth_pairing::{DeviceId, Identity, verify};
use berth_wire::{MANIFEST_CONTEXT, RECEIPT_CONTEXT, Signed};

/// Signs with the laptop's identity, checks against one hub's.
#[derive(Debug, Clone)]
pub struct LaptopKeys {
    /// The laptop.
    pub laptop: Arc<Identity>,
    /// The hub of this visit.
    pub hub: DeviceId,
}

impl Keys for LaptopKeys {
    fn sign_manifest(&self, body: &[u8]) -> [u8; 64] {
        self.laptop.sign(MANIFEST_CONTEXT, body)
    }

    fn is_of_hub(&self, receipt: &Signed) -> bool {
        verify(&self.hub, RECEIPT_CONTEXT, &receipt.body, &receipt.signature).is_ok()
    }
}
