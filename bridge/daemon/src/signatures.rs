//! The hub's keys, as the spool needs them.

use std::sync::Arc;

use berth_bridge::{LaptopId, Signatures};
use berth_pairing::{DeviceId, Identity, verify};

/// Signs with the hub's identity.
#[derive(Debug)]
pub struct HubKeys(pub Arc<Identity>);

impl Signatures for HubKeys {
    fn verify(&self, laptop: &LaptopId, context: &[u8], body: &[u8], signature: &[u8]) -> bool {
        verify(&DeviceId(laptop.0), context, body, signature).is_ok()
    }

    fn sign(&self, context: &[u8], body: &[u8]) -> Vec<u8> {
        self.0.sign(context, body).to_vec()
    }

    fn hub(&self) -> [u8; 32] {
        self.0.device().0
    }
}
