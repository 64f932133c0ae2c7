//! Hears beacons: what btleplug reports, without what BlueZ only remembers.
//!
//! A report counts if it comes while this scan runs and BlueZ has a signal strength for the device, which it forgets
//! when a scan ends. BlueZ may miss a report, and some adapters tell a device once for each scan: so it starts anew.

use std::time::Duration;

use berth_radio::{Address, BEACON_COMPANY, BEACON_SIZE_BYTES};
use btleplug::api::{Central, CentralEvent, Peripheral as _, ScanFilter};
use btleplug::platform::{Adapter, PeripheralId};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::bus::CALL_WAIT;
use crate::central::{Input, Scan};

/// How long a scan runs until it starts anew.
const SCAN_TIME: Duration = Duration::from_secs(2);

/// How long after one that could not be started.
const SCAN_REST: Duration = Duration::from_secs(1);

/// Scans as `wanted` says, until its sender is gone.
pub(crate) async fn run(
    adapter: Adapter,
    mut wanted: watch::Receiver<Option<Scan>>,
    inputs: mpsc::Sender<Input>,
) {
    loop {
        let scan = *wanted.borrow_and_update();
        let Some(scan) = scan else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        let ended = scan_once(&adapter, scan, &mut wanted, &inputs).await;
        if let Err(error) = timeout(CALL_WAIT, adapter.stop_scan()).await {
            debug!(%error, "scan is not stopped");
        }
        if let Err(error) = ended {
            debug!(%error, "no scan");
            tokio::select! {
                () = sleep(SCAN_REST) => {}
                _ = wanted.changed() => {}
            }
        }
        if wanted.has_changed().is_err() {
            return;
        }
    }
}

async fn scan_once(
    adapter: &Adapter,
    scan: Scan,
    wanted: &mut watch::Receiver<Option<Scan>>,
    inputs: &mpsc::Sender<Input>,
) -> btleplug::Result<()> {
    let late = |_| btleplug::Error::TimedOut(CALL_WAIT);
    let mut events = timeout(CALL_WAIT, adapter.events()).await.map_err(late)??;
    // What BlueZ remembers comes at once.
    while let Some(Some(_)) = events.next().now_or_never() {}
    timeout(CALL_WAIT, adapter.start_scan(ScanFilter::default()))
        .await
        .map_err(late)??;
    let end = sleep(SCAN_TIME);
    tokio::pin!(end);
    loop {
        let event = tokio::select! {
            () = &mut end => return Ok(()),
            _ = wanted.changed() => return Ok(()),
            event = events.next() => event,
        };
        let id = match event {
            Some(
                CentralEvent::DeviceDiscovered(id) | CentralEvent::ManufacturerDataAdvertisement { id, .. },
            ) => id,
            Some(_) => continue,
            None => return Err(btleplug::Error::DeviceNotFound),
        };
        let heard = timeout(CALL_WAIT, heard(adapter, &id)).await.map_err(late)?;
        if let Some((peer, beacon, rssi_dbm)) = heard {
            let input = Input::Sighted {
                scan,
                peer,
                beacon,
                rssi_dbm,
            };
            let _ = inputs.send(input).await;
        }
    }
}

/// What a device says, if it is a beacon and near.
async fn heard(adapter: &Adapter, id: &PeripheralId) -> Option<(Address, Bytes, i16)> {
    let device = adapter.peripheral(id).await.ok()?;
    let mut properties = device.properties().await.ok()??;
    let beacon = properties.manufacturer_data.remove(&BEACON_COMPANY)?;
    if beacon.len() > BEACON_SIZE_BYTES {
        return None;
    }
    let rssi_dbm = properties.rssi?;
    Some((address(device.address()), beacon.into(), rssi_dbm))
}

pub(crate) fn address(address: btleplug::api::BDAddr) -> Address {
    Address(address.into())
}
