//! Brings what happens to the machine, in order, on a thread of its own: a machine that is far behind holds up nothing
//! but this.

use std::net::TcpStream;
use std::sync::Arc;
use std::{io, thread};

use berth_net::Teller;
use berth_radio::Event;
use tokio::sync::mpsc;

/// Words that may wait beside those that wait for the machine; sightings and frames beyond them are lost.
const WORDS_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) enum Word {
    Event(Event),
    Open(TcpStream),
    EndStreams,
    AdapterGone,
}

pub(crate) struct Words(mpsc::Sender<Word>);

impl Words {
    pub(crate) fn new(teller: Teller) -> io::Result<Self> {
        let (give, mut take) = mpsc::channel(WORDS_MAX);
        thread::Builder::new().name("tell".into()).spawn(move || {
            while let Some(word) = take.blocking_recv() {
                match word {
                    Word::Event(event) => teller.tell(event),
                    Word::Open(socket) => {
                        if !teller.open(socket, Arc::default()) {
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

    pub(crate) async fn say(&self, word: Word) {
        if matches!(word, Word::Event(Event::Received { .. } | Event::Sighted { .. })) {
            let _ = self.0.try_send(word);
        } else {
            let _ = self.0.send(word).await;
        }
    }
}
