//! Direct links: a session or a pairing over one stream of a network that is already there, without BLE.
//!
//! Place: the first message of a stream that answers no offer -> the [`Gate`](super::gate::Gate), as over BLE -> a link
//! that the session's own channel secures.
//! Invariant: whatever an outsider sends, all it learns beyond the answer to a session's hello is a closed stream. While
//! the pairing window is closed, a pairing gets no answer.

use berth_pairing::{HandshakeError, Opening, PairingError};
use berth_radio::{Command, StreamId, Time};
use bytes::{Bytes, BytesMut};

use super::gate::{Entered, Entry, Guest};
use super::links::Proved;
use super::{HubEffect, HubSession, LINKS_MAX, Medium, Out, Stream};
use crate::ble::Broken;
use crate::link;

impl HubSession {
    /// A message on a stream that answers no offer.
    pub(super) fn direct(
        &mut self,
        now: Time,
        wall_ns: i64,
        stream: StreamId,
        message: &Bytes,
        out: Out<'_>,
    ) -> Result<(), Broken> {
        let Some(entry) = self.take_entry(stream) else {
            return Ok(());
        };
        if let Entry::New { .. } = entry {
            self.may_begin(now, message, out)?;
        }
        let mut say = Vec::new();
        let entered = self.gate.message(now, wall_ns, entry, message, &mut say, out)?;
        self.entered(now, stream, entered, say, out);
        Ok(())
    }

    /// What has taken too long ends.
    pub(super) fn tick_stream(&mut self, now: Time, wall_ns: i64, stream: StreamId, out: Out<'_>) {
        let Some(Stream::Entering { entry, .. }) = self.streams.get(&stream) else {
            return;
        };
        if entry.next_at().is_some_and(|due_at| now >= due_at)
            && let Some(entry) = self.take_entry(stream)
        {
            let mut say = Vec::new();
            match self.gate.tick(now, wall_ns, entry, &mut say, out) {
                Ok(entered) => self.entered(now, stream, entered, say, out),
                Err(Broken) => self.close_stream(now, stream, out),
            }
        }
    }

    /// Whether what a first message asks for can be had now.
    fn may_begin(&mut self, now: Time, message: &[u8], out: Out<'_>) -> Result<(), Broken> {
        let refusal = match Opening::of(message) {
            // A stream that goes on counts as a link: room for it is kept from here on.
            Some(Opening::Session) if self.links() >= LINKS_MAX => return Err(Broken),
            Some(Opening::Session) => return Ok(()),
            Some(Opening::Pairing) => match self.gate.window.closed(now) {
                Some(why) => HubEffect::PairingFailed(PairingError::Closed(why)),
                None => return Ok(()),
            },
            None => HubEffect::NotAdmitted(HandshakeError::ForeignLink),
        };
        out.push(refusal);
        Err(Broken)
    }

    /// Takes a stream that is not proved yet; [`HubSession::entered`] puts back what comes of it.
    fn take_entry(&mut self, stream: StreamId) -> Option<Entry> {
        match self.streams.remove(&stream)? {
            Stream::Entering { entry, .. } => Some(entry),
            up @ Stream::Up(_) => {
                self.streams.insert(stream, up);
                None
            }
        }
    }

    fn entered(&mut self, now: Time, stream: StreamId, entered: Entered, say: Vec<Bytes>, out: Out<'_>) {
        out.extend(say.iter().map(|message| {
            HubEffect::Radio(Command::Write {
                stream,
                piece: link::framed(message),
            })
        }));
        match entered {
            Entered::Awaits(entry) => {
                let arrived = BytesMut::new();
                self.streams.insert(stream, Stream::Entering { entry, arrived });
            }
            Entered::Admitted(guest) => {
                let Guest {
                    laptop,
                    channel,
                    told,
                } = *guest;
                let proved = Proved {
                    laptop,
                    channel,
                    told: Some(told),
                };
                self.up(now, stream, Medium::Lan, proved, out);
            }
            // What was written leaves before the stream ends.
            Entered::Over => self.close_stream(now, stream, out),
        }
    }
}
