//! Commands, events and their limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Monotonic time since an arbitrary start, passed into every machine.
pub type Time = Duration;

/// Bytes that a hub advertises, as manufacturer data ([`crate::BEACON_COMPANY`]): with its header and the flags they fit
/// one legacy advertisement (31 bytes, Bluetooth Core 5.3, Vol 3, Part C, 11).
pub const BEACON_SIZE_BYTES: usize = 20;

/// Largest GATT frame: the longest attribute value (Bluetooth Core 5.3, Vol 3, Part F, 3.2.9), 512 bytes.
pub const GATT_FRAME_SIZE_BYTES_MAX: usize = 512;

/// Most endpoints in one [`Command::Reach`]: a computer has a few addresses.
pub const ENDPOINTS_MAX: usize = 8;

/// Largest piece handed to a stream in one command.
pub const STREAM_PIECE_SIZE_BYTES_MAX: usize = 128 * 1024;

/// A device in the air: 48 bits, the first byte of its text form in the highest ones. On the air itself it is a random
/// address that changes; a machine must not remember it beyond one visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(pub u64);

/// A GATT connection, numbered by the radio that reports it; numbers are not reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnId(pub u32);

/// A byte stream over Wi-Fi, numbered by the radio that reports it; numbers are not reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u32);

/// What a station needs to join a group and find its owner. Sent over the secured BLE channel, never in the clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCredentials {
    /// Network name, `DIRECT-xy` and a random rest; at most 32 bytes.
    pub ssid: String,
    /// WPA2 passphrase, 8 to 63 printable characters. Fresh for each visit; it alone opens nothing.
    pub passphrase: String,
    /// Channel centre in MHz.
    pub frequency_mhz: u32,
    /// Where the owner listens, as text: an IPv6 link-local address and a port.
    pub endpoint: String,
    /// The owner's Wi-Fi Direct device address, 48 bits: a P2P client finds the owner by it. Not the address of the
    /// group's network, and a station has no use for it.
    pub device: Address,
}

impl std::fmt::Debug for GroupCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCredentials")
            .field("ssid", &self.ssid)
            .finish_non_exhaustive()
    }
}

/// A way into a group, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As P2P client beside the present network, through wpa_supplicant.
    WifiDirect,
    /// As a station, through NetworkManager.
    NetworkManager,
    /// As a station, through wpa_supplicant where that runs alone.
    Supplicant,
}

/// Why a way did not lead there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayFailure {
    /// The service is not there.
    Missing,
    /// This user may not use it.
    Denied,
    /// Service or adapter can't do it, or not on this adapter.
    Unable,
    /// It tried, and did not find the group or was not let in.
    Refused,
    /// No answer in time.
    Silent,
}

/// How a laptop got into a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The way that led there.
    pub way: Way,
    /// Better ones that did not; each way once at the most.
    pub failed: Vec<(Way, WayFailure)>,
}

impl Joined {
    /// The best way, at once.
    pub const DIRECTLY: Self = Self {
        way: Way::WifiDirect,
        failed: Vec::new(),
    };
}

/// What a machine asks of its radio.
///
/// Every command is answered by an event or by nothing: the caller keeps a deadline. What the radio can't do now
/// (adapter gone, unknown number, over a limit) it ignores, unless an answer is named. A late answer to something
/// given up is possible: whoever does not want the connection any more closes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Hub: advertise these bytes (replaces what was advertised) and take GATT connections. The address may change
    /// with it; the former one can be connected to for a few seconds more.
    Advertise {
        /// At most [`BEACON_SIZE_BYTES`].
        beacon: Bytes,
    },
    /// Hub: be silent. Connections stay.
    StopAdvertising,
    /// Laptop: report beacons as [`Event::Sighted`] until [`Command::StopScanning`].
    Scan,
    /// Laptop: stop reporting.
    StopScanning,
    /// Laptop: open a GATT connection. Answer: `Connected` or `ConnectFailed`. One at a time: another one meanwhile
    /// is answered by `ConnectFailed` at once.
    Connect {
        /// From a sighting of this scan.
        peer: Address,
    },
    /// Either: send one frame (a write from the laptop, a notification from the hub). It may get lost.
    Send {
        /// An open connection; a closed one is ignored.
        conn: ConnId,
        /// At most the `mtu_bytes` told to this side; a longer one is lost.
        frame: Bytes,
    },
    /// Either: close a GATT connection. Both sides see `Disconnected`, the other one after what was sent before.
    Disconnect {
        /// The connection.
        conn: ConnId,
    },
    /// Hub: open a fresh Wi-Fi Direct group and listen on it. Answer: `GroupStarted` or `GroupFailed`. A group that is
    /// up ends first; of two starts only the second is answered.
    StartGroup,
    /// Hub: close the group; its streams end. Answer: `GroupStopped`, or `GroupFailed` if it was only starting.
    StopGroup,
    /// Laptop: join a group. Answer: `Joined` or `JoinFailed`. A group joined before is left first; of two joins only
    /// the second is answered.
    Join {
        /// As told by the hub.
        credentials: GroupCredentials,
    },
    /// Laptop: leave the group and go back to the network that was there before. Its streams end. Answer: `Left`, or
    /// `JoinFailed` if it was only joining.
    Leave,
    /// Laptop: open a stream to the owner of the joined group. Answer: `StreamOpened` or `StreamFailed`.
    Dial,
    /// Laptop: open a stream over a network that is already there, to the first of these that answers. Answer:
    /// `StreamOpened` or `StreamFailed`. It needs no adapter, and the stream stays when that goes.
    Reach {
        /// Addresses and ports, at most [`ENDPOINTS_MAX`].
        endpoints: Vec<SocketAddr>,
    },
    /// Either: send a piece. The radio answers with [`Event::Drained`] as the piece leaves; a sender keeps at most
    /// [`STREAM_WINDOW_BYTES`] in at most [`STREAM_WINDOW_PIECES`] undrained: one that sends more loses the stream.
    Write {
        /// An open stream; a closed one is ignored.
        stream: StreamId,
        /// At most [`STREAM_PIECE_SIZE_BYTES_MAX`]; a longer one ends the stream, an empty one is ignored.
        piece: Bytes,
    },
    /// Either: take no bytes of this stream for now, so that it alone stops its sender. What is on its way to the machine
    /// may still come, at most [`STREAM_WINDOW_BYTES`]. A stream that ends is held no more: what is left of it comes.
    Hold {
        /// An open stream; a closed one is ignored.
        stream: StreamId,
    },
    /// Either: take its bytes again.
    Resume {
        /// The stream.
        stream: StreamId,
    },
    /// Either: end a stream after what was written has left. This side sees `StreamClosed` when the other one has it all
    /// (or gives no answer for a while), the other one after the last byte; what that still had under way may be lost.
    CloseStream {
        /// The stream.
        stream: StreamId,
    },
}

/// Bytes that a sender may have handed to a stream and not yet seen drained: enough for 75 MB/s at 50 ms.
pub const STREAM_WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Pieces that a sender may have handed to a stream and not yet seen drained: bounds what tiny pieces cost.
pub const STREAM_WINDOW_PIECES: usize = 4096;

/// What a radio tells its machine.
///
/// What was opened ends once: after `Connected`, `StreamOpened`, `GroupStarted` and `Joined` exactly one
/// `Disconnected`, `StreamClosed`, `GroupStopped` or `Left` follows, or `AdapterGone`, which ends all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Laptop: a beacon was heard now (never from a cache).
    Sighted {
        /// Who sent it.
        peer: Address,
        /// What it said.
        beacon: Bytes,
        /// Signal strength.
        rssi_dbm: i16,
    },
    /// Either: a GATT connection is open. On the hub it may come only with the first frame (BlueZ can't tell before).
    Connected {
        /// Its number.
        conn: ConnId,
        /// Largest frame this side may send, in bytes: 20 to [`GATT_FRAME_SIZE_BYTES_MAX`]. The other side's may
        /// differ.
        mtu_bytes: usize,
    },
    /// Laptop: no connection.
    ConnectFailed {
        /// Who was asked.
        peer: Address,
    },
    /// Either: a frame arrived. Frames may be lost, repeated or swapped.
    Received {
        /// On which connection.
        conn: ConnId,
        /// The frame.
        frame: Bytes,
    },
    /// Either: the connection is gone.
    Disconnected {
        /// Which.
        conn: ConnId,
    },
    /// Hub: the group is up and listening.
    GroupStarted {
        /// For the laptop.
        credentials: GroupCredentials,
    },
    /// Hub: no group.
    GroupFailed,
    /// Hub: the group has ended, asked for or not.
    GroupStopped,
    /// Laptop: in the group.
    Joined(Joined),
    /// Laptop: not in the group.
    JoinFailed,
    /// Laptop: out of the group, asked for or not.
    Left,
    /// Either: a stream is open (on the hub: a station dialled).
    StreamOpened {
        /// Its number.
        stream: StreamId,
    },
    /// Laptop: the dial failed, or nothing could be reached.
    StreamFailed,
    /// Either: bytes arrived, in order, without gaps.
    Read {
        /// On which stream.
        stream: StreamId,
        /// At most [`STREAM_PIECE_SIZE_BYTES_MAX`].
        piece: Bytes,
    },
    /// Either: this many bytes more of what was written have left.
    Drained {
        /// On which stream.
        stream: StreamId,
        /// How many.
        bytes: usize,
    },
    /// Either: the stream has ended; after it nothing comes on this stream. Bytes under way may be lost.
    StreamClosed {
        /// Which.
        stream: StreamId,
    },
    /// Either: the adapter is gone; every connection, group and stream of it with it, without an event of their own.
    /// Streams that need no adapter (over a network that is already there) stay.
    AdapterGone,
    /// Either: the adapter is back. It neither advertises nor scans until told to.
    AdapterBack,
}

/// Makes a [`Radio::event`] that waits, or else the next one, return at once without an event. From any thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// A radio, as a thin driver sees it.
pub trait Radio {
    /// Hands over a command. Never blocks for longer than a queue's lock.
    fn command(&mut self, command: Command);
    /// The next event, waiting until `deadline` (on the clock of [`Radio::now`]) at the most. A receiver that stops
    /// taking events stops its senders, never the radio.
    fn event(&mut self, deadline: Time) -> Option<Event>;
    /// For threads whose work the driver waits for beside the air. It may outlive the radio.
    fn waker(&self) -> Waker;
    /// The radio's clock: virtual for the simulated air, monotonic for real radios.
    fn now(&self) -> Time;
}

impl<R: Radio + ?Sized> Radio for Box<R> {
    fn command(&mut self, command: Command) {
        (**self).command(command);
    }

    fn event(&mut self, deadline: Time) -> Option<Event> {
        (**self).event(deadline)
    }

    fn waker(&self) -> Waker {
        (**self).waker()
    }

    fn now(&self) -> Time {
        (**self).now()
    }
}
