//! Brings what happens to the machine, in order, on a thread of its own: a machine that is far behind holds up nothing
//! but this.

use std::net::TcpStream;
use std::sync::Arc;
use std::{io, thread};

use berth_radio::Event;
use tokio::sync::mpsc;

use crate::Teller;

/// Words that may wait beside those that wait for the machine; sightings and frames beyond them are lost.
const WORDS_MAX: usize = 1024;

/// What a radio of hardware tells.
#[derive(Debug)]
pub enum Word {
    /// See [`Teller::tell`].
    Event(Event),
    /// See [`Teller::open`]; where there are no more numbers, `StreamFailed`.
    Open {
        /// Of the new stream.
        socket: TcpStream,
        /// Counts it.
        ticket: Arc<()>,
    },
    /// See [`Teller::end_streams`].
    EndStreams,
    /// See [`Teller::adapter_gone`].
    AdapterGone,
}

/// Takes words; at most 1,024 wait.
#[derive(Debug)]
pub struct Words(mpsc::Sender<Word>);

impl Words {
    /// Starts the thread. It ends when this is dropped and everything is told.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn new(teller: Teller) -> io::Result<Self> {
        let (give, mut take) = mpsc::channel(WORDS_MAX);
        thread::Builder::new().name("tell".into()).spawn(move || {
            while let Some(word) = take.blocking_recv() {
                match word {
                    Word::Event(event) => teller.tell(event),
                    Word::Open { socket, ticket } => {
                        if !teller.open(socket, ticket) {
                            teller.tell(Event::StreamFailed);
                        }
                    }
                    Word::EndStreams => teller.end_streams(),
                    Word::AdapterGone => teller.adapter_gone(),
                }
            }
        })?;
        Ok(Self(give))
    }

    /// Waits for room, but for what may get lost.
    pub async fn say(&self, word: Word) {
        if matches!(word, Word::Event(Event::Received { .. } | Event::Sighted { .. })) {
            let _ = self.0.try_send(word);
        } else {
            let _ = self.0.send(word).await;
        }
    }
}
