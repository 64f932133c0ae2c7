//! The GATT service's sockets: frames of each laptop in, notifications out.
//!
//! Place: part of [`crate::bluez`]'s life.
//! Invariant: sockets are read at once, always: BlueZ may wait while one of them is full. Before a laptop is told as
//! gone, what it had sent is told.
//!
//! BlueZ before 5.69 gives all laptops that are connected at the same time one socket, under the address of the first:
//! their frames then mix, and Noise rejects the foreign ones.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_radio::{Address, FRAMES_UUID, SERVICE_UUID};
use bluer::gatt::local::{
    Application, Characteristic, CharacteristicControl, CharacteristicControlEvent,
    CharacteristicControlHandle, CharacteristicNotify, CharacteristicNotifyMethod, CharacteristicWrite,
    CharacteristicWriteMethod, Service, characteristic_control,
};
use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use bluer::{Adapter, Device, DeviceEvent, DeviceProperty, Uuid};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::bluez::Report;
use crate::kernel::address;

/// Longest time that BlueZ may take to end a connection; it takes 2 s by itself. Then the laptop is taken for gone.
const HANG_UP_WAIT: Duration = Duration::from_secs(5);

/// Frames to a laptop that may wait; more are lost.
const OUTGOING_MAX: usize = 64;

pub(crate) struct Peers {
    adapter: Adapter,
    reports: mpsc::Sender<Report>,
    sockets: CharacteristicControl,
    peers: BTreeMap<Address, Peer>,
    writers: BTreeMap<Address, mpsc::Sender<Bytes>>,
    gone: (mpsc::Sender<Visit>, mpsc::Receiver<Visit>),
    visits: u64,
}

/// A laptop from when it was first seen to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Visit {
    peer: Address,
    number: u64,
}

struct Peer {
    number: u64,
    /// Dropped, its reader ends after what is there.
    reader: Option<oneshot::Sender<()>>,
    watch: AbortHandle,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Peers {
    /// With what is to be served, whose sockets these are.
    pub(crate) fn new(adapter: Adapter, reports: mpsc::Sender<Report>) -> (Self, Application) {
        let (sockets, handle) = characteristic_control();
        let peers = Self {
            adapter,
            reports,
            sockets,
            peers: BTreeMap::new(),
            writers: BTreeMap::new(),
            gone: mpsc::channel(1),
            visits: 0,
        };
        (peers, application(handle))
    }

    /// Waits for the next thing that happens, and deals with it.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            Some(event) = self.sockets.next() => match event {
                CharacteristicControlEvent::Notify(writer) => self.subscribed(writer).await,
                CharacteristicControlEvent::Write(request) => {
                    if let Ok(reader) = request.accept() {
                        self.writes(reader);
                    }
                }
            },
            Some(visit) = self.gone.1.recv() => self.is_gone(visit).await,
        }
    }

    /// Without a socket of its own the laptop shares another one's: see above.
    pub(crate) fn notify(&self, peer: Address, frame: Bytes) {
        let writer = self.writers.get(&peer).filter(|writer| !writer.is_closed());
        if let Some(writer) = writer.or_else(|| self.writers.values().find(|writer| !writer.is_closed())) {
            let _ = writer.try_send(frame);
        }
    }

    pub(crate) fn hang_up(&mut self, peer: Address) {
        let Ok(device) = self.adapter.device(bluer(peer)) else {
            return;
        };
        let (gone, visit) = (self.gone.0.clone(), self.watched(peer));
        tokio::spawn(async move {
            let _ = timeout(HANG_UP_WAIT, device.disconnect()).await;
            let _ = gone.send(visit).await;
        });
    }

    async fn subscribed(&mut self, writer: CharacteristicWriter) {
        let (peer, limit_bytes) = (address(writer.device_address().0), writer.mtu());
        self.watched(peer);
        let (give, take) = mpsc::channel(OUTGOING_MAX);
        tokio::spawn(carry_out(writer, take));
        self.writers.retain(|_, writer| !writer.is_closed());
        self.writers.insert(peer, give);
        let _ = self.reports.send(Report::Subscribed { peer, limit_bytes }).await;
    }

    fn writes(&mut self, reader: CharacteristicReader) {
        let peer = address(reader.device_address().0);
        let visit = self.watched(peer);
        let (keep, dropped) = oneshot::channel();
        if let Some(it) = self.peers.get_mut(&peer) {
            it.reader = Some(keep);
        }
        tokio::spawn(carry_in(
            reader,
            visit,
            dropped,
            self.reports.clone(),
            self.gone.0.clone(),
        ));
    }

    /// Makes sure that its end will be seen.
    fn watched(&mut self, peer: Address) -> Visit {
        if let Some(it) = self.peers.get(&peer) {
            return Visit {
                peer,
                number: it.number,
            };
        }
        self.visits += 1;
        let visit = Visit {
            peer,
            number: self.visits,
        };
        let (gone, device) = (self.gone.0.clone(), self.adapter.device(bluer(peer)));
        let watch = tokio::spawn(async move {
            if let Ok(device) = device {
                until_disconnected(&device).await;
            }
            let _ = gone.send(visit).await;
        });
        let watch = watch.abort_handle();
        self.peers.insert(
            peer,
            Peer {
                number: visit.number,
                reader: None,
                watch,
            },
        );
        visit
    }

    async fn is_gone(&mut self, visit: Visit) {
        if self
            .peers
            .get(&visit.peer)
            .is_none_or(|it| it.number != visit.number)
        {
            return;
        }
        let has_reader = self
            .peers
            .remove(&visit.peer)
            .is_some_and(|mut it| it.reader.take().is_some());
        // Else its reader tells of it, after the last frame.
        if !has_reader {
            let _ = self.reports.send(Report::Gone { peer: visit.peer }).await;
        }
    }
}

fn application(handle: CharacteristicControlHandle) -> Application {
    let write = CharacteristicWrite {
        write_without_response: true,
        method: CharacteristicWriteMethod::Io,
        ..CharacteristicWrite::default()
    };
    let notify = CharacteristicNotify {
        notify: true,
        method: CharacteristicNotifyMethod::Io,
        ..CharacteristicNotify::default()
    };
    let characteristic = Characteristic {
        uuid: Uuid::from_u128(FRAMES_UUID),
        write: Some(write),
        notify: Some(notify),
        control_handle: handle,
        ..Characteristic::default()
    };
    let service = Service {
        uuid: Uuid::from_u128(SERVICE_UUID),
        primary: true,
        characteristics: vec![characteristic],
        ..Service::default()
    };
    Application {
        services: vec![service],
        ..Application::default()
    }
}

fn bluer(address: Address) -> bluer::Address {
    let [_, _, bytes @ ..] = address.0.to_be_bytes();
    bluer::Address(bytes)
}

/// At once where it is not connected or not known.
async fn until_disconnected(device: &Device) {
    let Ok(events) = device.events().await else { return };
    let mut events = std::pin::pin!(events);
    if !device.is_connected().await.unwrap_or(false) {
        return;
    }
    while let Some(event) = events.next().await {
        if matches!(
            event,
            DeviceEvent::PropertyChanged(DeviceProperty::Connected(false))
        ) {
            return;
        }
    }
}

/// Until the socket ends, which ends the visit, or `dropped` says that the visit has ended.
async fn carry_in(
    reader: CharacteristicReader,
    visit: Visit,
    mut dropped: oneshot::Receiver<()>,
    reports: mpsc::Sender<Report>,
    gone: mpsc::Sender<Visit>,
) {
    let peer = visit.peer;
    let tell = |frame: Vec<u8>| {
        let frame = Bytes::from(frame);
        let _ = reports.try_send(Report::Frame { peer, frame });
    };
    loop {
        tokio::select! {
            biased;
            frame = reader.recv() => match frame {
                Ok(frame) if !frame.is_empty() => tell(frame),
                // The end, or a frame that is none.
                Ok(_) | Err(_) => break,
            },
            _ = &mut dropped => {
                while let Ok(frame) = reader.try_recv() && !frame.is_empty() {
                    tell(frame);
                }
                let _ = reports.send(Report::Gone { peer }).await;
                return;
            }
        }
    }
    drop(reader);
    let _ = gone.send(visit).await;
    let _ = dropped.await;
    let _ = reports.send(Report::Gone { peer }).await;
}

/// Until the laptop takes no more, or nobody gives any.
async fn carry_out(writer: CharacteristicWriter, mut frames: mpsc::Receiver<Bytes>) {
    loop {
        tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) if writer.send(&frame).await.is_ok() => {}
                Some(_) | None => return,
            },
            _ = writer.closed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_has_no_order_that_could_change() {
        let (_, handle) = characteristic_control();
        let services = application(handle).services;
        assert_eq!(services.len(), 1);
        assert_eq!(services[0].characteristics.len(), 1);
    }
}
