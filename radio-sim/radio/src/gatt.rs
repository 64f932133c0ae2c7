//! What hub and laptop look for over Bluetooth LE: the only constants in what a hub sends in the clear.

/// Company identifier of the manufacturer data that holds the beacon: `0xFFFF`, which belongs to nobody (Bluetooth
/// Assigned Numbers, 7.1). Its 4 bytes of header and 20 of beacon fit a legacy advertisement of 31 bytes beside the flags;
/// a 128-bit service UUID and the beacon would not.
pub const BEACON_COMPANY: u16 = 0xFFFF;

/// The hub's only service.
pub const SERVICE_UUID: u128 = 0x9622_8caa_f2cc_4007_a3e0_d50c_9e53_223e;

/// Its characteristic that the laptop writes frames to, without response.
pub const TO_HUB_UUID: u128 = 0x9622_8cab_f2cc_4007_a3e0_d50c_9e53_223e;

/// Its characteristic that notifies the laptop of frames.
pub const TO_LAPTOP_UUID: u128 = 0x9622_8cac_f2cc_4007_a3e0_d50c_9e53_223e;
