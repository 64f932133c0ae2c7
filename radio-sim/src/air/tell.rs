//! Commands and events as lines of the trace.

use berth_radio::{Command, Event, Time};

use super::{Air, PortId};
use crate::Trace;

impl Air {
    pub(super) fn tell_command(&mut self, port: PortId, command: &Command, able: bool) {
        if !self.trace.is_on() {
            return;
        }
        let Some(name) = self.ports.get(port.index()).map(|port| port.label.as_str()) else {
            return;
        };
        let (trace, now) = (&mut self.trace, self.now);
        let ignored = if able { "" } else { " (ignored)" };
        match command {
            // Summed up when it arrives; and whoever is held back shows in what arrives.
            Command::Write { .. } | Command::Hold { .. } | Command::Resume { .. } => {}
            Command::Advertise { beacon } => {
                let sum = crc32fast::hash(beacon);
                trace.line(now, name, '>', format_args!("advertise {sum:08x}{ignored}"));
            }
            Command::Connect { peer } => {
                trace.line(now, name, '>', format_args!("connect {:012x}{ignored}", peer.0));
            }
            Command::Send { conn, frame } => {
                let (size, sum) = (frame.len(), crc32fast::hash(frame));
                let what = format_args!("send conn {} {size} bytes {sum:08x}{ignored}", conn.0);
                trace.line(now, name, '>', what);
            }
            Command::Disconnect { conn } => {
                trace.line(
                    now,
                    name,
                    '>',
                    format_args!("disconnect conn {}{ignored}", conn.0),
                );
            }
            Command::Join { credentials } => {
                trace.line(
                    now,
                    name,
                    '>',
                    format_args!("join {}{ignored}", credentials.ssid.escape_debug()),
                );
            }
            Command::CloseStream { stream } => {
                trace.line(now, name, '>', format_args!("close stream {}{ignored}", stream.0));
            }
            Command::StopAdvertising
            | Command::Scan
            | Command::StopScanning
            | Command::StartGroup
            | Command::StopGroup
            | Command::Leave
            | Command::Dial
            | Command::Reach { .. } => trace.line(now, name, '>', format_args!("{command:?}{ignored}")),
        }
    }
}

pub(super) fn tell_event(trace: &mut Trace, now: Time, name: &str, event: &Event) {
    if !trace.is_on() {
        return;
    }
    match event {
        Event::Read { .. } | Event::Drained { .. } => {} // summed up when it arrives
        Event::Sighted {
            peer,
            beacon,
            rssi_dbm,
        } => {
            let sum = crc32fast::hash(beacon);
            let what = format_args!("sighted {:012x} {sum:08x} {rssi_dbm} dBm", peer.0);
            trace.line(now, name, '<', what);
        }
        Event::Connected { conn, mtu_bytes } => {
            trace.line(
                now,
                name,
                '<',
                format_args!("connected conn {} mtu {mtu_bytes}", conn.0),
            );
        }
        Event::ConnectFailed { peer } => {
            trace.line(now, name, '<', format_args!("connect failed {:012x}", peer.0));
        }
        Event::Received { conn, frame } => {
            let (size, sum) = (frame.len(), crc32fast::hash(frame));
            trace.line(
                now,
                name,
                '<',
                format_args!("received conn {} {size} bytes {sum:08x}", conn.0),
            );
        }
        Event::Disconnected { conn } => {
            trace.line(now, name, '<', format_args!("disconnected conn {}", conn.0));
        }
        Event::GroupStarted { credentials } => {
            trace.line(now, name, '<', format_args!("group started {}", credentials.ssid));
        }
        Event::StreamOpened { stream } => {
            trace.line(now, name, '<', format_args!("stream {} opened", stream.0));
        }
        Event::StreamClosed { stream } => {
            trace.line(now, name, '<', format_args!("stream {} closed", stream.0));
        }
        Event::Joined(_) => trace.line(now, name, '<', format_args!("Joined")),
        Event::GroupFailed
        | Event::GroupStopped
        | Event::JoinFailed
        | Event::Left
        | Event::StreamFailed
        | Event::AdapterGone
        | Event::AdapterBack => trace.line(now, name, '<', format_args!("{event:?}")),
    }
}
