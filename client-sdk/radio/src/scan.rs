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

/// How long after one that could not be started; doubled with each more, up to a limit. Somebody may have to put right
/// what BlueZ refuses it for.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);

/// Scans as `wanted` says, until its sender is gone.
pub(crate) async fn run(
    adapter: Adapter,
    mut wanted: watch::Receiver<Option<Scan>>,
    inputs: mpsc::Sender<Input>,
) {
    let mut pace = Pace::default();
    loop {
        let scan = *wanted.borrow_and_update();
        let Some(scan) = scan else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        let ended = scan_once(&adapter, scan, pace.time(), &mut wanted, &inputs).await;
        if let Err(error) = timeout(CALL_WAIT, adapter.stop_scan()).await {
            debug!(%error, "scan is not stopped");
        }
        let end = ended.unwrap_or_else(|error| {
            debug!(%error, "no scan");
            End::Refused
        });
        if let Some(rest) = pace.after(end) {
            tokio::select! {
                () = sleep(rest) => {}
                _ = wanted.changed() => {}
            }
        }
        if wanted.has_changed().is_err() {
            return;
        }
    }
}

/// Why a scan ended.
enum End {
    Late,
    Unwanted,
    /// It did not begin, or BlueZ was gone.
    Refused,
}

/// How long scans run, and rest, after those that were there.
#[derive(Debug, Default)]
struct Pace {
    /// In a row that nobody stopped.
    scans: u32,
    /// In a row.
    refusals: u32,
}

impl Pace {
    /// How long the next scan runs; `None`: until somebody stops it.
    fn time(&self) -> Option<Duration> {
        (self.scans < SHORT_SCANS).then_some(SCAN_TIME)
    }

    /// How long to rest after a scan that ended so, unless something else is wanted meanwhile.
    fn after(&mut self, end: End) -> Option<Duration> {
        let Self { scans, refusals } = std::mem::take(self);
        match end {
            End::Late => self.scans = scans.saturating_add(1),
            End::Unwanted => {}
            End::Refused => {
                self.refusals = refusals.saturating_add(1);
                return Some(REST_MIN.saturating_mul(1 << refusals.min(16)).min(REST_MAX));
            }
        }
        None
    }
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
        let mut pace = Pace::default();
        let mut short = 0;
        while pace.time().is_some() {
            assert_eq!(pace.after(End::Late), None);
            short += 1;
            assert!(short < 60, "{short} scans");
        }
        assert!(short > 0);
        pace.after(End::Unwanted);
        assert!(pace.time().is_some());
    }

    #[test]
    fn a_refused_scan_is_tried_again_after_rests_that_grow_to_their_limit() {
        let mut pace = Pace::default();
        let rests: Vec<_> = (0..40).map_while(|_| pace.after(End::Refused)).collect();
        assert_eq!(rests.len(), 40);
        assert!(rests.is_sorted() && rests[0] == REST_MIN && rests[39] == REST_MAX);
        for end in [End::Late, End::Unwanted] {
            assert_eq!(pace.after(end), None);
            assert_eq!(pace.after(End::Refused), Some(REST_MIN));
        }
    }
}
