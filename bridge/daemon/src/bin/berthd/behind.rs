//! What is behind the spool: laptops' repositories at the upstream, kept open while somebody reads there.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_bridge::{ForwardError, LaptopId, Spool, Upstream};
use berth_daemon::{ForwardFailure, Orders};
use berth_wire::ObjectEntry;
use bytes::Bytes;

use crate::upstream::{self, Destination};

/// Repositories that are kept open: one reader has several connections.
const OPEN_MAX: usize = 4;

/// An open repository: of a laptop, at an upstream.
type Open = (LaptopId, String, Box<dyn Upstream>);

/// Reads from the upstream what the spool has no more.
pub(crate) struct Behind {
    spool: Arc<Spool>,
    destination: Arc<Destination>,
    orders: Orders,
    open: Mutex<VecDeque<Open>>,
}

impl Behind {
    pub(crate) fn new(spool: Arc<Spool>, destination: Arc<Destination>, orders: Orders) -> Self {
        Self {
            spool,
            destination,
            orders,
            open: Mutex::default(),
        }
    }

    /// Bytes of an object; `None`: the upstream has it not, or nothing can be read there.
    pub(crate) fn read(
        &self,
        laptop: &LaptopId,
        entry: &ObjectEntry,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, ForwardFailure> {
        let Some(url) = self.destination.url().map(|url| url.to_string()) else {
            return Ok(None);
        };
        let (kind, id) = (entry.kind, &entry.id);
        if let Some(mut known) = self.take(laptop, &url)
            && let Ok(Some(bytes)) = known.read(kind, id, Some(range.clone()))
        {
            self.keep((*laptop, url, known));
            return Ok(Some(bytes));
        }
        // Opened anew: what failed may work then, and what is not there may be an upstream that is gone.
        let Some(mut opened) = upstream::repository(&self.destination, &self.spool, &self.orders, laptop)?
        else {
            return Ok(None);
        };
        let bytes = opened
            .read(kind, id, Some(range))
            .map_err(|error| ForwardFailure::from(&ForwardError::from(error)))?;
        if bytes.is_some() {
            self.keep((*laptop, url, opened));
        }
        Ok(bytes)
    }

    fn keep(&self, one: Open) {
        let mut open = self.lock();
        open.push_front(one);
        open.truncate(OPEN_MAX);
    }

    fn take(&self, laptop: &LaptopId, url: &str) -> Option<Box<dyn Upstream>> {
        let mut open = self.lock();
        let is_it = |(of, at, _): &Open| of == laptop && at == url;
        let place = open.iter().position(is_it)?;
        open.remove(place).map(|(_, _, upstream)| upstream)
    }

    // Whole between any two calls.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
