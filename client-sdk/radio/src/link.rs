//! One GATT connection to a hub: opens it, writes in order, brings what comes, closes it.
//!
//! Place: frames of [`crate::laptop`] -> [`run`] -> inputs of [`crate::central`]. Dropping the frames' sender closes it
//! after what was given before.
//! Invariant: the last input is `Closed`, and comes in time: BlueZ keeps silent for up to a minute about a radio that
//! does.

use std::pin::Pin;
use std::time::Duration;

use berth_radio::{Address, ConnId, FRAMES_UUID, SERVICE_UUID};
use btleplug::api::{Central, CentralEvent, Characteristic, Peripheral as _, ValueNotification, WriteType};
use btleplug::platform::{Adapter, Peripheral};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};
use uuid::Uuid;

use crate::bus::CALL_WAIT;
use crate::central::Input;
use crate::scan::address;

/// Longest time until a connection is open: finding it, its services, and its frame limit.
const OPEN_WAIT: Duration = Duration::from_secs(20);

/// Frames that may wait to be written; more are lost.
pub(crate) const FRAMES_MAX: usize = 64;

/// Largest frame to a hub: BlueZ before August 2023 counts the two bytes of the handle as part of the value, which may
/// have 512, and drops what is longer without a word (bluez/bluez issue 570, `check_length` in `gatt-server.c`).
const FRAME_SIZE_BYTES_MAX: usize = 510;

/// What an attribute's write or notification adds to a frame (Bluetooth Core 5.3, Vol 3, Part F, 3.4.5, 3.4.7).
const HEADER_SIZE_BYTES: usize = 3;

/// An adapter that has just stopped scanning refuses for a moment.
const TRY_REST: Duration = Duration::from_millis(200);
const TRIES_MAX: usize = 3;

type Events<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

struct Link {
    device: Peripheral,
    characteristic: Characteristic,
    notifications: Events<ValueNotification>,
    events: Events<CentralEvent>,
}

/// Opens a connection and serves it to its end.
pub(crate) async fn run(
    adapter: Adapter,
    peer: Address,
    conn: ConnId,
    frames: mpsc::Receiver<Bytes>,
    inputs: mpsc::Sender<Input>,
) {
    if let Ok(Ok(Some(device))) = timeout(CALL_WAIT, find(&adapter, peer)).await {
        match timeout(OPEN_WAIT, open(&adapter, &device)).await {
            Ok(Ok((link, mtu_bytes))) => {
                info!(?conn, mtu_bytes, "connected");
                let _ = inputs.send(Input::Opened { conn, mtu_bytes }).await;
                serve(link, conn, frames, &inputs).await;
            }
            Ok(Err(error)) => info!(?conn, %error, "no connection"),
            Err(_) => info!(?conn, "no connection in time"),
        }
        if !matches!(timeout(CALL_WAIT, device.disconnect()).await, Ok(Ok(()))) {
            debug!(?conn, "BlueZ does not disconnect");
        }
    }
    let _ = inputs.send(Input::Closed { conn }).await;
}

async fn find(adapter: &Adapter, peer: Address) -> btleplug::Result<Option<Peripheral>> {
    let mut devices = adapter.peripherals().await?.into_iter();
    Ok(devices.find(|device| address(device.address()) == peer))
}

async fn open(adapter: &Adapter, device: &Peripheral) -> btleplug::Result<(Link, usize)> {
    // Before it is connected, so that no end of it is missed.
    let events = adapter.events().await?;
    let mut tries = 1;
    while let Err(error) = device.connect().await {
        if tries == TRIES_MAX {
            return Err(error);
        }
        debug!(%error, "once more");
        tries += 1;
        sleep(TRY_REST).await;
    }
    device.discover_services().await?;
    let service = Uuid::from_u128(SERVICE_UUID);
    let characteristic = device
        .services()
        .into_iter()
        .filter(|it| it.uuid == service)
        .flat_map(|it| it.characteristics)
        .find(|it| it.uuid == Uuid::from_u128(FRAMES_UUID))
        .ok_or(btleplug::Error::NoSuchCharacteristic)?;
    let notifications = device.notifications().await?;
    device.subscribe(&characteristic).await?;
    let mtu_bytes = usize::from(device.mtu()).saturating_sub(HEADER_SIZE_BYTES);
    let link = Link {
        device: device.clone(),
        characteristic,
        notifications,
        events,
    };
    Ok((link, mtu_bytes.min(FRAME_SIZE_BYTES_MAX)))
}

/// Until it is to be closed, or gone.
async fn serve(
    mut link: Link,
    conn: ConnId,
    mut frames: mpsc::Receiver<Bytes>,
    inputs: &mpsc::Sender<Input>,
) {
    let id = link.device.id();
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { return };
                let write = link.device.write(&link.characteristic, &frame, WriteType::WithoutResponse);
                match timeout(CALL_WAIT, write).await {
                    Ok(Ok(())) => {}
                    // Whether the connection is gone is told elsewhere; a frame may get lost.
                    Ok(Err(error)) => debug!(?conn, %error, "a frame is lost"),
                    Err(_) => return info!(?conn, "no answer to a write"),
                }
            }
            notification = link.notifications.next() => match notification {
                Some(ValueNotification { uuid, value, .. }) if uuid == link.characteristic.uuid => {
                    let _ = inputs.send(Input::Received { conn, frame: value.into() }).await;
                }
                Some(_) => {}
                None => return,
            },
            event = link.events.next() => match event {
                Some(CentralEvent::DeviceDisconnected(gone)) if gone == id => {
                    return info!(?conn, "disconnected");
                }
                Some(_) => {}
                None => return,
            },
        }
    }
}
