//! What hub and laptop look for over Bluetooth LE: the only constants in what a hub sends in the clear.

/// Company identifier of the manufacturer data that holds the beacon: `0xFFFF`, which belongs to nobody (Bluetooth
/// Assigned Numbers, 7.1). Its 4 bytes of header and 20 of beacon fit a legacy advertisement of 31 bytes beside the flags;
/// a 128-bit service UUID and the beacon would not.
pub const BEACON_COMPANY: u16 = 0xFFFF;

/// The hub's only service.
pub const SERVICE_UUID: u128 = 0x9622_8caa_f2cc_4007_a3e0_d50c_9e53_223e;

/// Its only characteristic: the laptop writes frames to it, without response, and is notified of the hub's. With a second
/// one there would be two orders for them to stand in; a laptop's BlueZ goes on with the order it met first, as long as
/// the service's UUID and size are the same (bluez/bluez issue 191), and would write to the wrong one.
pub const FRAMES_UUID: u128 = 0x9622_8cad_f2cc_4007_a3e0_d50c_9e53_223e;
