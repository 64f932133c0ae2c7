//! One visit's disk hangs: its own link is held, everybody else goes on. And what wakes a hub.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test stops where it fails"
)]

mod disk;
mod driven;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use berth_bridge::{Journal, LaptopId, Spool};
use berth_daemon::{Hub, HubEvent, HubOutput, HubParts, StoreThreads, Stores};
use berth_disk::OsDisk;
use berth_pairing::{Identity, Name, Peer, TrustList};
use berth_radio::{Command, Event, StreamId, Time};
use berth_repository::Id;
use berth_session::{Goal, HubInput, HubSetup, LaptopEffect, LaptopInput, LaptopSession};
use berth_wire::{
    DATA_SIZE_BYTES_MAX, Decoder, Frame, Mark, ObjectKind, PROTOCOL, ToHub, ToLaptop, UploadId,
    control_frames, data_frame,
};
use bytes::Bytes;
use crossbeam_channel::{Receiver, unbounded};
use rand_core::OsRng;

use disk::{Gate, GatedDisk};

/// Something that is to happen and does not for so long: the test has failed.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Far more than may wait anywhere.
const PACK_SIZE_BYTES: usize = 16 * 1024 * 1024;

/// Queue (2 MiB) and the window of the stream that is held.
const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024 + DATA_SIZE_BYTES_MAX;

const WALL_NS: i64 = 1_700_000_000_000_000_000;

struct Laptop {
    identity: Arc<Identity>,
    hub: Option<Peer>,
    session: LaptopSession,
    stream: StreamId,
    is_held: bool,
    decoder: Decoder,
    answers: VecDeque<ToLaptop>,
}

/// A hub with threads and a disk that may hang, laptops, and a network without limits between them.
struct Desk {
    now: Time,
    hub: Hub,
    woken: Receiver<()>,
    gate: Gate,
    laptops: Vec<Laptop>,
    streams: u32,
    out: Vec<HubOutput>,
    visits_ended: usize,
    _folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::default();
        let disk = Arc::new(GatedDisk {
            disk: OsDisk::open(folder.path()).unwrap(),
            gate: gate.clone(),
        });
        let identity = Arc::new(Identity::generate(&mut OsRng));
        let (journal, _) = Journal::open(folder.path().join("journal"), None).unwrap();
        let (spool, _) = Spool::open(disk.clone(), journal, identity.clone(), WALL_NS).unwrap();
        let setup = HubSetup {
            identity,
            name: Name::reduce("desk"),
            trust: TrustList::open(disk, "trust").unwrap(),
            fast_aes: true,
            rng: Box::new(OsRng),
        };
        let (wake, woken) = unbounded();
        let wake = Arc::new(move || wake.send(()).unwrap_or_default());
        let stores = Stores::Threads(StoreThreads::new(Arc::new(|| WALL_NS), wake));
        let mut out = Vec::new();
        let parts = HubParts { setup, spool, stores };
        Self {
            now: Time::ZERO,
            hub: Hub::new(Time::ZERO, WALL_NS, parts, &mut out).unwrap(),
            woken,
            gate,
            laptops: Vec::new(),
            streams: 0,
            out,
            visits_ended: 0,
            _folder: folder,
        }
    }

    /// A new laptop, paired and welcomed; its place.
    fn arrive(&mut self, name: &str) -> usize {
        let code = self.hub.open_window(self.now, WALL_NS, &mut self.out);
        let identity = Arc::new(Identity::generate(&mut OsRng));
        let name = Name::reduce(name);
        let (place, goal) = (self.laptops.len(), Goal::Pair { code, name });
        let mut begun = Vec::new();
        let session = LaptopSession::direct(
            self.now,
            identity.clone(),
            goal,
            true,
            Box::new(OsRng),
            &mut begun,
        );
        self.laptops.push(Laptop {
            identity: identity.clone(),
            hub: None,
            session,
            stream: StreamId(0),
            is_held: false,
            decoder: Decoder::default(),
            answers: VecDeque::new(),
        });
        self.laptop_did(place, begun);
        let hubs = vec![self.laptops[place].hub.clone().expect("is paired")];
        let (mut begun, goal) = (Vec::new(), Goal::Visit { hubs });
        self.laptops[place].session =
            LaptopSession::direct(self.now, identity, goal, true, Box::new(OsRng), &mut begun);
        self.laptop_did(place, begun);
        let (protocol, repository, last) = (PROTOCOL, Id::of(b"config"), None);
        self.say(
            place,
            &ToHub::Begin {
                protocol,
                repository,
                last,
            },
        );
        assert!(matches!(self.answer(place), ToLaptop::Welcome { .. }));
        self.say(place, &ToHub::OpenSet { created_at_ns: 5 });
        place
    }

    fn say(&mut self, place: usize, message: &ToHub) {
        for frame in control_frames(message).unwrap() {
            self.send(place, frame);
        }
    }

    fn send(&mut self, place: usize, frame: Bytes) {
        self.tell_laptop(place, LaptopInput::Frame(frame));
    }

    /// Begins an upload of the first set.
    fn open(&mut self, place: usize, number: u32, kind: ObjectKind) -> UploadId {
        let set = berth_wire::SetSeq(1);
        let (upload, provisional) = (UploadId { set, number }, false);
        self.say(
            place,
            &ToHub::Open {
                upload,
                kind,
                provisional,
            },
        );
        upload
    }

    fn upload(&mut self, place: usize, number: u32, kind: ObjectKind, bytes: &[u8]) {
        let upload = self.open(place, number, kind);
        for piece in bytes.chunks(DATA_SIZE_BYTES_MAX) {
            while self.laptops[place].is_held {
                self.wait();
            }
            self.send(place, data_frame(upload, piece));
        }
        let (id, length) = (Id::of(bytes), bytes.len() as u64);
        self.say(place, &ToHub::Close { upload, id, length });
    }

    /// Bytes of an endless upload that the hub takes before it holds the link.
    fn send_until_held(&mut self, place: usize, upload: UploadId) -> usize {
        let piece = vec![7; DATA_SIZE_BYTES_MAX];
        let mut sent = 0;
        while !self.laptops[place].is_held {
            self.send(place, data_frame(upload, &piece));
            sent += piece.len();
            assert!(sent < PACK_SIZE_BYTES, "the hub takes whatever comes");
        }
        sent
    }

    /// The next answer that is no keep-alive.
    fn answer(&mut self, place: usize) -> ToLaptop {
        loop {
            match self.laptops[place].answers.pop_front() {
                Some(ToLaptop::KeepAlive) => {}
                Some(answer) => return answer,
                None => self.wait(),
            }
        }
    }

    /// Waits for a visit's thread.
    fn wait(&mut self) {
        self.woken.recv_timeout(WAIT_MAX).unwrap();
        self.hub.stores_done(self.now, WALL_NS, &mut self.out);
        self.perform();
    }

    /// Lets time pass, for the hub.
    fn pass(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(at) = self.hub.next_at().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.tell_hub(HubInput::Tick);
        }
        self.now = until;
    }

    fn tell_hub(&mut self, input: HubInput) {
        self.hub.handle(self.now, WALL_NS, input, &mut self.out);
        self.perform();
    }

    fn tell_laptop(&mut self, place: usize, input: LaptopInput) {
        let mut out = Vec::new();
        self.laptops[place].session.handle(self.now, input, &mut out);
        self.laptop_did(place, out);
    }

    /// The network, and what comes of it.
    fn perform(&mut self) {
        for output in std::mem::take(&mut self.out) {
            let command = match output {
                HubOutput::Radio(command) => command,
                HubOutput::Event(HubEvent::VisitEnded { .. }) => {
                    self.visits_ended += 1;
                    continue;
                }
                HubOutput::Event(_) => continue,
            };
            let of = |stream| self.laptops.iter().position(|laptop| laptop.stream == stream);
            match command {
                Command::Write { stream, piece } => {
                    let (bytes, at) = (piece.len(), of(stream));
                    if let Some(at) = at {
                        self.tell_laptop(at, LaptopInput::Radio(Event::Read { stream, piece }));
                    }
                    self.tell_hub(HubInput::Radio(Event::Drained { stream, bytes }));
                }
                Command::Hold { stream } => of(stream)
                    .into_iter()
                    .for_each(|at| self.laptops[at].is_held = true),
                Command::Resume { stream } => of(stream)
                    .into_iter()
                    .for_each(|at| self.laptops[at].is_held = false),
                Command::CloseStream { stream } => {
                    if let Some(at) = of(stream) {
                        self.tell_laptop(at, LaptopInput::Radio(Event::StreamClosed { stream }));
                    }
                }
                _ => {}
            }
        }
    }

    fn laptop_did(&mut self, place: usize, effects: Vec<LaptopEffect>) {
        for effect in effects {
            match effect {
                LaptopEffect::Radio(Command::Dial) => {
                    self.streams += 1;
                    let stream = StreamId(self.streams);
                    self.laptops[place].stream = stream;
                    self.tell_hub(HubInput::Radio(Event::StreamOpened { stream }));
                    self.tell_laptop(place, LaptopInput::Radio(Event::StreamOpened { stream }));
                }
                LaptopEffect::Radio(Command::Write { stream, piece }) => {
                    let bytes = piece.len();
                    self.tell_hub(HubInput::Radio(Event::Read { stream, piece }));
                    self.tell_laptop(place, LaptopInput::Radio(Event::Drained { stream, bytes }));
                }
                LaptopEffect::Radio(Command::CloseStream { stream }) => {
                    self.tell_hub(HubInput::Radio(Event::StreamClosed { stream }));
                    self.tell_laptop(place, LaptopInput::Radio(Event::StreamClosed { stream }));
                }
                LaptopEffect::Store(hub) => {
                    self.laptops[place].hub = Some(hub);
                    self.tell_laptop(place, LaptopInput::Stored(true));
                }
                LaptopEffect::Frame(frame) => {
                    let laptop = &mut self.laptops[place];
                    if let Some(Frame::Control(answer)) = laptop.decoder.frame(frame).unwrap() {
                        laptop.answers.push_back(answer);
                    }
                }
                LaptopEffect::Radio(_)
                | LaptopEffect::BeaconKey { .. }
                | LaptopEffect::Up { .. }
                | LaptopEffect::Room
                | LaptopEffect::Over(_) => {}
            }
        }
    }
}

#[test]
fn a_disk_that_hangs_holds_its_own_laptop_and_nobody_else() {
    let mut desk = Desk::new();
    let slow = desk.arrive("slow");
    let other = desk.arrive("other");
    for laptop in [slow, other] {
        desk.upload(laptop, 0, ObjectKind::Config, b"config");
        desk.upload(laptop, 1, ObjectKind::Key, b"key");
    }
    let folder = LaptopId::from(desk.laptops[slow].identity.device()).to_string();
    desk.gate.close(&folder);
    let upload = desk.open(slow, 2, ObjectKind::Pack);
    let sent = desk.send_until_held(slow, upload);
    assert!(
        sent <= WAITING_BYTES_MAX,
        "{sent} bytes wait for a disk that hangs"
    );
    assert!(!desk.laptops[other].is_held);

    let mark = Mark(1);
    desk.upload(other, 2, ObjectKind::Pack, &vec![8; PACK_SIZE_BYTES]);
    desk.say(other, &ToHub::Flush { mark });
    assert!(matches!(desk.answer(other), ToLaptop::Acknowledged { .. }));
    desk.say(other, &ToHub::Goodbye);
    assert!(matches!(desk.answer(other), ToLaptop::Goodbye));
    let ended = desk.visits_ended;

    desk.pass(Duration::from_secs(60));
    assert_eq!(desk.visits_ended, ended, "who is held is not silent");
    desk.gate.open();
    while desk.laptops[slow].is_held {
        desk.wait();
    }
    desk.say(slow, &ToHub::Flush { mark });
    assert!(matches!(desk.answer(slow), ToLaptop::Acknowledged { .. }));
    desk.pass(Duration::from_secs(60));
    while desk.visits_ended == ended {
        desk.wait();
    }
}
