//! The air's end of the Unix socket.

use std::io::{self, BufWriter, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use berth_radio::Command;
use berth_radio_sim::{SharedAir, SimRadio};
use rand_core::RngCore;

use super::bridge::Bridge;
use super::codec::{Down, PROTOCOL_VERSION, Up, read_message, write_message};
use super::gate::Gate;
use super::order::carry_out;
use super::{AirError, CodecError, LINK_WAIT};

/// An air for other processes. Clones are the same air.
#[derive(Clone)]
pub struct AirServer(Arc<Inner>);

struct Inner {
    air: SharedAir,
    gate: Arc<Gate>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gate.close();
    }
}

impl std::fmt::Debug for AirServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AirServer").finish_non_exhaustive()
    }
}

impl AirServer {
    /// Opens `air` to other processes of this computer: streams come to a port of the loopback that is free. `rng` makes
    /// the tokens that prove whose they are.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(air: SharedAir, rng: Box<dyn RngCore + Send>) -> io::Result<Self> {
        let gate = Gate::open(air.clone(), rng)?;
        Ok(Self(Arc::new(Inner { air, gate })))
    }

    /// Where radios connect for their streams.
    #[must_use]
    pub fn streams_at(&self) -> SocketAddr {
        self.0.gate.address
    }

    /// Gives the peer at the other end of `link` a radio until it goes, or carries out its order. Call it on a thread of
    /// its own: it returns when the connection has ended, and the radio is out of the air then.
    ///
    /// The peer has [`LINK_WAIT`] for each part of its first message; it may take its events as slowly as it likes as long
    /// as it takes some within that time.
    ///
    /// # Errors
    /// Why it ended, unless the peer just closed the connection.
    pub fn serve(&self, link: &UnixStream) -> Result<(), AirError> {
        let ended = self.serve_link(link);
        // An error says that it has ended already.
        let _ = link.shutdown(Shutdown::Both);
        ended
    }

    fn serve_link(&self, link: &UnixStream) -> Result<(), AirError> {
        link.set_read_timeout(Some(LINK_WAIT))?;
        link.set_write_timeout(Some(LINK_WAIT))?;
        let mut writer = BufWriter::new(link);
        match self.admit(&mut &*link, &mut writer) {
            Ok(Some(radio)) => {
                link.set_read_timeout(None)?;
                self.carry(radio, link, writer)
            }
            Ok(None) => Ok(()),
            Err(error) => {
                refuse(link, &error.to_string())?;
                Err(error)
            }
        }
    }

    /// A radio for whoever wants one.
    fn admit(
        &self,
        reader: &mut impl Read,
        writer: &mut BufWriter<&UnixStream>,
    ) -> Result<Option<SimRadio>, AirError> {
        match read_message(reader)? {
            Some(Up::Hello { version, name }) => {
                same_version(version)?;
                let refused = |error: berth_radio_sim::AttachError| AirError::Refused(error.to_string());
                self.0.air.radio(&name).map(Some).map_err(refused)
            }
            Some(Up::Order { version, order }) => {
                same_version(version)?;
                carry_out(&self.0.air, &order, writer)?;
                Ok(None)
            }
            Some(Up::Command(_)) | None => Err(CodecError::Message.into()),
        }
    }

    fn carry(
        &self,
        radio: SimRadio,
        link: &UnixStream,
        writer: BufWriter<&UnixStream>,
    ) -> Result<(), AirError> {
        let port = radio.port();
        let mut bridge = Bridge::new(radio, &self.0.gate, writer);
        let inbox = bridge.inbox();
        let is_gone = AtomicBool::new(false);
        let ended = thread::scope(|scope| {
            let events = thread::Builder::new()
                .name("air-out".into())
                .spawn_scoped(scope, || {
                    let ended = bridge.run(&is_gone);
                    let _ = link.shutdown(Shutdown::Both);
                    ended
                })?;
            let commands = self.pump_commands(port, link);
            is_gone.store(true, Ordering::Release);
            inbox.wake();
            match (events.join(), commands) {
                (Err(_), _) => Err(io::Error::other("the event pump panicked").into()),
                // A connection that breaks under a write is a peer that has gone; one that takes nothing is not.
                (Ok(Err(AirError::Link(error))), Ok(())) if error.kind() == io::ErrorKind::BrokenPipe => {
                    Ok(())
                }
                (Ok(Err(error)), Ok(())) => Err(error),
                (Ok(_), ended) => ended,
            }
        });
        inbox.end_all(None);
        ended
    }

    fn pump_commands(&self, port: berth_radio_sim::PortId, mut link: &UnixStream) -> Result<(), AirError> {
        while let Some(message) = read_message(&mut link)? {
            match message {
                Up::Command(
                    Command::Write { .. }
                    | Command::CloseStream { .. }
                    | Command::Hold { .. }
                    | Command::Resume { .. },
                )
                | Up::Hello { .. }
                | Up::Order { .. } => return Err(CodecError::Message.into()),
                Up::Command(command) => self.0.air.command(port, command),
            }
        }
        Ok(())
    }

    /// Tells the peer at the other end of `link` that it is not let in. Never waits: for whoever must not.
    pub fn refuse(link: &UnixStream, why: &str) {
        // Who can't be told sees the connection end.
        let _ = link
            .set_nonblocking(true)
            .map_err(AirError::from)
            .and_then(|()| refuse(link, why));
    }
}

fn refuse(mut link: &UnixStream, why: &str) -> Result<(), AirError> {
    write_message(&mut link, &Down::Refused(why.to_owned()))
}

fn same_version(version: u16) -> Result<(), AirError> {
    if version == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(AirError::Refused(format!(
        "it speaks version {version}, not {PROTOCOL_VERSION}: use the same version of every program"
    )))
}
