//! A plain network: streams that lose nothing until they are cut. The test itself may stand at either end.

use std::collections::{BTreeMap, VecDeque};

use berth_radio::{Command, Event, StreamId};
use bytes::Bytes;

/// Streams of the plain network have numbers from here on; those of the air lie below.
const FIRST: u32 = 0x8000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    Hub,
    Laptop,
    Test,
}

/// One stream.
struct Pipe {
    dialled: Party,
    listens: Party,
}

/// What the test has at its end of a stream.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) is_closed: bool,
}

pub(super) struct Pipes {
    next: u32,
    pipes: BTreeMap<StreamId, Pipe>,
    queue: VecDeque<(Party, Event)>,
    /// Who takes the laptop's streams; `None`: nobody.
    pub(super) listener: Option<Party>,
    /// Bytes come in pieces of this size at the most.
    pub(super) piece_size_bytes: usize,
    /// Pieces that pass before every stream is cut, once.
    pub(super) cut_after: Option<usize>,
    /// What the test heard.
    pub(super) heard: BTreeMap<StreamId, Heard>,
    /// Everything that was written to the hub.
    pub(super) to_hub: Vec<(StreamId, Bytes)>,
}

impl Default for Pipes {
    fn default() -> Self {
        Self {
            next: FIRST,
            pipes: BTreeMap::new(),
            queue: VecDeque::new(),
            listener: Some(Party::Hub),
            piece_size_bytes: usize::MAX,
            cut_after: None,
            heard: BTreeMap::new(),
            to_hub: Vec::new(),
        }
    }
}

impl Pipes {
    /// The command, if it is none of this network's.
    pub(super) fn command(&mut self, from: Party, command: Command) -> Option<Command> {
        match command {
            Command::Write { stream, piece } if stream.0 >= FIRST => self.write(from, stream, &piece),
            Command::CloseStream { stream } if stream.0 >= FIRST => self.close(stream),
            command => return Some(command),
        }
        None
    }

    pub(super) fn dial(&mut self, dialled: Party) -> Option<StreamId> {
        let Some(listens) = self.listener else {
            self.tell(dialled, Event::StreamFailed);
            return None;
        };
        let stream = StreamId(self.next);
        self.next += 1;
        self.pipes.insert(stream, Pipe { dialled, listens });
        for party in [listens, dialled] {
            if party == Party::Test {
                self.heard.insert(stream, Heard::default());
            } else {
                self.tell(party, Event::StreamOpened { stream });
            }
        }
        Some(stream)
    }

    pub(super) fn write(&mut self, from: Party, stream: StreamId, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece_size_bytes) {
            let Some(pipe) = self.pipes.get(&stream) else {
                return;
            };
            let to = if from == pipe.dialled {
                pipe.listens
            } else {
                pipe.dialled
            };
            let piece = Bytes::copy_from_slice(piece);
            let bytes = piece.len();
            match to {
                Party::Hub => self.to_hub.push((stream, piece.clone())),
                Party::Test => self.heard.entry(stream).or_default().bytes.extend(&piece),
                Party::Laptop => {}
            }
            self.tell(to, Event::Read { stream, piece });
            self.tell(from, Event::Drained { stream, bytes });
            match &mut self.cut_after {
                Some(0) => {
                    self.cut_after = None;
                    self.cut();
                }
                Some(pieces) => *pieces -= 1,
                None => {}
            }
        }
    }

    pub(super) fn close(&mut self, stream: StreamId) {
        let Some(pipe) = self.pipes.remove(&stream) else {
            return;
        };
        for party in [pipe.listens, pipe.dialled] {
            if party == Party::Test {
                self.heard.entry(stream).or_default().is_closed = true;
            }
            self.tell(party, Event::StreamClosed { stream });
        }
    }

    /// Ends every stream, whatever is under way.
    pub(super) fn cut(&mut self) {
        for stream in self.pipes.keys().copied().collect::<Vec<_>>() {
            self.close(stream);
        }
    }

    /// Streams that are open.
    pub(super) fn open(&self) -> usize {
        self.pipes.len()
    }

    /// Nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next event, for the hub or the laptop.
    pub(super) fn event(&mut self) -> Option<(Party, Event)> {
        self.queue.pop_front()
    }

    fn tell(&mut self, party: Party, event: Event) {
        if party != Party::Test {
            self.queue.push_back((party, event));
        }
    }
}
