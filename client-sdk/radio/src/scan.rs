//! Hears beacons: what btleplug reports, without what BlueZ only remembers.
//!
//! A report counts if it comes while this scan runs and BlueZ has a signal strength for the device, which it forgets
//! when a scan ends. BlueZ may miss a report, and some adapters tell a device once for each scan: so at first, when
//! somebody may wait for it, a scan starts anew every few seconds. Then it goes on, and no timer of ours wakes the
//! process: what comes into range is told at once, and BlueZ starts a scan with a filter, as btleplug's is, anew every
//! 10 s by itself (`no_scan_restart_delay` in its `adapter.c`).

use std::future::pending;
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

/// How long a scan runs until it starts anew, and how many such scans there are before one that goes on.
const SCAN_TIME: Duration = Duration::from_secs(2);
const SHORT_SCANS: u32 = 20;

/// How long after one that could not be started.
const SCAN_REST: Duration = Duration::from_secs(1);

/// Scans as `wanted` says, until its sender is gone.
pub(crate) async fn run(
    adapter: Adapter,
    mut wanted: watch::Receiver<Option<Scan>>,
    inputs: mpsc::Sender<Input>,
) {
    let mut scans = 0;
    loop {
        let scan = *wanted.borrow_and_update();
        let Some(scan) = scan else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        let ended = scan_once(&adapter, scan, time(scans), &mut wanted, &inputs).await;
        if let Err(error) = timeout(CALL_WAIT, adapter.stop_scan()).await {
            debug!(%error, "scan is not stopped");
        }
        scans = match ended {
            Ok(End::Late) => scans + 1,
            Ok(End::Unwanted) => 0,
            Err(error) => {
                debug!(%error, "no scan");
                tokio::select! {
                    () = sleep(SCAN_REST) => {}
                    _ = wanted.changed() => {}
                }
                0
            }
        };
        if wanted.has_changed().is_err() {
            return;
        }
    }
}

/// Why a scan ended.
enum End {
    Late,
    Unwanted,
}

/// How long a scan runs after so many that nobody stopped; `None`: until somebody does.
fn time(scans: u32) -> Option<Duration> {
    (scans < SHORT_SCANS).then_some(SCAN_TIME)
}

async fn scan_once(
    adapter: &Adapter,
    scan: Scan,
    time: Option<Duration>,
    wanted: &mut watch::Receiver<Option<Scan>>,
    inputs: &mpsc::Sender<Input>,
) -> btleplug::Result<End> {
    let silent = |_| btleplug::Error::TimedOut(CALL_WAIT);
    let mut events = timeout(CALL_WAIT, adapter.events()).await.map_err(silent)??;
    // What BlueZ remembers comes at once.
    while let Some(Some(_)) = events.next().now_or_never() {}
    timeout(CALL_WAIT, adapter.start_scan(ScanFilter::default()))
        .await
        .map_err(silent)??;
    let late = async {
        match time {
            Some(time) => sleep(time).await,
            None => pending().await,
        }
    };
    tokio::pin!(late);
    loop {
        let event = tokio::select! {
            () = &mut late => return Ok(End::Late),
            _ = wanted.changed() => return Ok(End::Unwanted),
            event = events.next() => event,
        };
        let id = match event {
            Some(CentralEvent::DeviceDiscovered(id)) => id,
            Some(CentralEvent::ManufacturerDataAdvertisement {
                id,
                manufacturer_data,
            }) if manufacturer_data.contains_key(&BEACON_COMPANY) => id,
            Some(_) => continue,
            None => return Err(btleplug::Error::DeviceNotFound),
        };
        let heard = timeout(CALL_WAIT, heard(adapter, &id)).await.map_err(silent)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_that_nobody_stops_is_in_the_end_left_alone() {
        let short = (0..u32::MAX).take_while(|scans| time(*scans).is_some()).count();
        assert!((1..60).contains(&short), "{short} scans");
    }
}
