//! The thread that owns the laptop's radio: one thing at a time, in the order in which it happens.
//!
//! Place: commands, inputs of Bluetooth and reports of Wi-Fi -> the machines -> tasks and words.
//! Invariant: while no adapter can be used nothing is begun, and nothing but `AdapterBack`, and answers that a command
//! must have, is told.

use std::collections::BTreeMap;
use std::net::{SocketAddrV6, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use berth_radio::{Command, ConnId, Event};
use btleplug::api::{Central as _, Manager as _};
use btleplug::platform::Manager;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tracing::{info, warn};
use zbus::connection;

use crate::adapter::{self, Adapter};
use crate::bus::{CALL_WAIT, connect};
use crate::central::{self, Central, Scan};
use crate::error::LaptopRadioError;
use crate::membership::{self, Membership, Number};
use crate::{Hardware, dial, link, scan, wifi};
use berth_net::{Word, Words};

/// Inputs, reports and orders that may wait; whoever brings more waits too.
const WAITING_MAX: usize = 256;

/// BlueZ may tell of an adapter before it gives it to all.
const BEGIN_TRIES_MAX: usize = 3;
const BEGIN_REST: Duration = Duration::from_secs(1);

/// Bluetooth as long as one adapter is there. Dropping it ends its tasks; BlueZ ends what they had begun.
struct Life {
    adapter: btleplug::platform::Adapter,
    listen: watch::Sender<Option<Scan>>,
    frames: BTreeMap<ConnId, mpsc::Sender<Bytes>>,
    inputs: mpsc::Sender<central::Input>,
    reports: mpsc::Receiver<central::Input>,
    tasks: JoinSet<()>,
}

/// The end of a dial: its group's number, and a socket if there is one.
type Dialled = (Number, Option<TcpStream>);

pub(crate) struct Laptop {
    words: Words,
    manager: Manager,
    life: Option<Life>,
    adapters: mpsc::Receiver<Option<Adapter>>,
    watcher: JoinHandle<()>,
    adapter: Option<Adapter>,
    central: Central,
    membership: Membership,
    /// Of the group that is joined.
    owner: Option<SocketAddrV6>,
    wifi: mpsc::Sender<wifi::Order>,
    wifi_reports: mpsc::Receiver<wifi::Report>,
    wifi_task: JoinHandle<()>,
    dialled: mpsc::Sender<Dialled>,
    dials: mpsc::Receiver<Dialled>,
}

impl Laptop {
    /// Looks at what there is, and begins to remove what a crash has left.
    pub(crate) async fn open(words: Words, hardware: Hardware) -> Result<Self, LaptopRadioError> {
        let bus = connect(connection::Builder::system())
            .await
            .map_err(LaptopRadioError::NoBus)?;
        let names = zbus::fdo::DBusProxy::new(&bus)
            .await
            .map_err(LaptopRadioError::NoBus)?;
        // A bus that starts services has it running then.
        let name = adapter::BLUEZ.try_into().map_err(LaptopRadioError::NoBus)?;
        let _ = names.start_service_by_name(name, 0).await;
        let name = hardware.bluetooth_adapter;
        adapter::find(&bus, name.as_deref()).await?;
        let manager = Manager::new().await.map_err(LaptopRadioError::Bluetooth)?;

        let (changes, adapters) = mpsc::channel(WAITING_MAX);
        let wifi_bus = match hardware.wifi_bus {
            Some(address) => connect(connection::Builder::address(address.as_str()))
                .await
                .map_err(LaptopRadioError::NoBus)?,
            None => bus.clone(),
        };
        let watcher = tokio::spawn(async move {
            if let Err(error) = adapter::watch(&bus, name, changes).await {
                warn!(%error, "the system bus does not tell of Bluetooth");
            }
        });
        let (wifi, orders) = mpsc::channel(WAITING_MAX);
        let (reports, wifi_reports) = mpsc::channel(WAITING_MAX);
        let (dialled, dials) = mpsc::channel(WAITING_MAX);
        Ok(Self {
            words,
            manager,
            life: None,
            adapters,
            watcher,
            adapter: None,
            central: Central::default(),
            membership: Membership::default(),
            owner: None,
            wifi,
            wifi_reports,
            wifi_task: tokio::spawn(wifi::run(wifi_bus, orders, reports)),
            dialled,
            dials,
        })
    }

    /// Until there are no more commands; then nothing is left in the air.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        // The first report says what there is: no news for a machine that counts on an adapter.
        match self.adapters.recv().await.flatten() {
            Some(adapter) => self.begin(adapter).await,
            None => self.words.say(Word::AdapterGone).await,
        }
        let mut is_watched = true;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => break,
                },
                change = self.adapters.recv(), if is_watched => {
                    // Without the bus there is no adapter any more, but what must be answered still is.
                    is_watched = change.is_some();
                    self.adapter(change.flatten()).await;
                }
                Some(input) = next(&mut self.life) => self.central(input).await,
                Some(report) = self.wifi_reports.recv() => self.wifi(report).await,
                Some((number, socket)) = self.dials.recv() => {
                    let is_open = socket.is_some();
                    self.membership_with(membership::Input::Dialled { number, is_open }, socket).await;
                }
            }
        }
        self.end().await;
    }

    async fn end(self) {
        self.watcher.abort();
        drop(self.wifi);
        if let Some(life) = self.life {
            life.end().await;
        }
        let _ = self.wifi_task.await;
    }

    async fn command(&mut self, command: Command) {
        use central::Input;
        let is_there = self.life.is_some();
        match command {
            Command::Connect { peer } if !is_there => self.tell(Event::ConnectFailed { peer }).await,
            Command::Join { .. } if !is_there => self.tell(Event::JoinFailed).await,
            Command::Dial if !is_there => self.tell(Event::StreamFailed).await,
            _ if !is_there => {}
            Command::Scan => self.central(Input::Scan).await,
            Command::StopScanning => self.central(Input::StopScanning).await,
            Command::Connect { peer } => self.central(Input::Connect { peer }).await,
            Command::Send { conn, frame } => self.central(Input::Send { conn, frame }).await,
            Command::Disconnect { conn } => self.central(Input::Disconnect { conn }).await,
            Command::Join { credentials } => self.membership(membership::Input::Join(credentials)).await,
            Command::Leave => self.membership(membership::Input::Leave).await,
            Command::Dial => self.membership(membership::Input::Dial).await,
            // A hub's, and those of streams and of other networks, which are carried out elsewhere.
            Command::Reach { .. }
            | Command::Advertise { .. }
            | Command::StopAdvertising
            | Command::StartGroup
            | Command::StopGroup
            | Command::Write { .. }
            | Command::Hold { .. }
            | Command::Resume { .. }
            | Command::CloseStream { .. } => {}
        }
    }

    async fn adapter(&mut self, change: Option<Adapter>) {
        if change == self.adapter {
            return;
        }
        info!(is_there = change.is_some(), "Bluetooth adapter");
        if self.life.take().is_some() {
            self.central(central::Input::AdapterGone).await;
            self.membership(membership::Input::AdapterGone).await;
            self.words.say(Word::AdapterGone).await;
        }
        self.adapter = None;
        if let Some(adapter) = change {
            self.begin(adapter).await;
            if self.life.is_some() {
                self.tell(Event::AdapterBack).await;
            }
        }
    }

    async fn begin(&mut self, adapter: Adapter) {
        for _ in 0..BEGIN_TRIES_MAX {
            match Life::begin(&self.manager, &adapter).await {
                Ok(life) => {
                    self.life = Some(life);
                    self.adapter = Some(adapter);
                    return;
                }
                Err(error) => warn!(%error, "the adapter can't be used"),
            }
            sleep(BEGIN_REST).await;
        }
        warn!("no Bluetooth until the adapter has been away");
    }

    async fn wifi(&mut self, report: wifi::Report) {
        use wifi::Report;
        match report {
            Report::Up {
                number,
                joined,
                owner,
            } => {
                self.owner = Some(owner);
                self.membership(membership::Input::Up { number, joined }).await;
            }
            Report::Ended(number) => self.membership(membership::Input::Ended(number)).await,
            Report::Down(number) => self.membership(membership::Input::Down(number)).await,
        }
    }

    async fn central(&mut self, input: central::Input) {
        use central::Effect;
        let mut effects = Vec::new();
        self.central.handle(input, &mut effects);
        for effect in effects {
            match (effect, &mut self.life) {
                (Effect::Tell(event), _) => self.tell(event).await,
                (Effect::Listen(scan), Some(life)) => {
                    life.listen.send_replace(scan);
                }
                (Effect::Open { conn, peer }, Some(life)) => {
                    let (give, frames) = mpsc::channel(link::FRAMES_MAX);
                    life.frames.insert(conn, give);
                    let inputs = life.inputs.clone();
                    let task = link::run(life.adapter.clone(), peer, conn, frames, inputs);
                    life.tasks.spawn(task);
                }
                (Effect::Write { conn, frame }, Some(life)) => {
                    if let Some(frames) = life.frames.get(&conn) {
                        // What is too much is lost, as frames may be.
                        let _ = frames.try_send(frame);
                    }
                }
                (Effect::Close { conn }, Some(life)) => {
                    life.frames.remove(&conn);
                }
                (
                    Effect::Listen(_) | Effect::Open { .. } | Effect::Write { .. } | Effect::Close { .. },
                    None,
                ) => {}
            }
        }
    }

    async fn membership(&mut self, input: membership::Input) {
        self.membership_with(input, None).await;
    }

    async fn membership_with(&mut self, input: membership::Input, mut socket: Option<TcpStream>) {
        use membership::Effect;
        let mut effects = Vec::new();
        self.membership.handle(input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Tell(event) => self.tell(event).await,
                Effect::EndStreams => self.words.say(Word::EndStreams).await,
                Effect::Enter { number, credentials } => {
                    self.order(wifi::Order::Enter { number, credentials });
                }
                Effect::Exit(number) => self.order(wifi::Order::Exit(number)),
                Effect::Dial(number) => {
                    let (owner, dialled) = (self.owner, self.dialled.clone());
                    tokio::spawn(async move {
                        let socket = match owner {
                            Some(owner) => dial::dial(owner).await.map_err(|error| {
                                info!(%error, "the owner of the group can't be reached");
                            }),
                            None => Err(()),
                        };
                        let _ = dialled.send((number, socket.ok())).await;
                    });
                }
                Effect::Open => {
                    if let Some(socket) = socket.take() {
                        self.words
                            .say(Word::Open {
                                socket,
                                ticket: Arc::default(),
                            })
                            .await;
                    }
                }
            }
        }
    }

    /// Never waits: Wi-Fi may be waiting for room for its own reports.
    fn order(&self, order: wifi::Order) {
        if self.wifi.try_send(order).is_err() {
            warn!("an order to Wi-Fi is lost");
        }
    }

    async fn tell(&self, event: Event) {
        self.words.say(Word::Event(event)).await;
    }
}

impl Life {
    async fn begin(manager: &Manager, wanted: &Adapter) -> btleplug::Result<Self> {
        let late = |_| btleplug::Error::TimedOut(CALL_WAIT);
        let finding = async {
            for adapter in manager.adapters().await? {
                if adapter.adapter_address().await?.map(scan::address) == Some(wanted.address) {
                    return Ok(adapter);
                }
            }
            Err(btleplug::Error::DeviceNotFound)
        };
        let adapter = tokio::time::timeout(CALL_WAIT, finding).await.map_err(late)??;
        let (listen, wanted) = watch::channel(None);
        let (inputs, reports) = mpsc::channel(WAITING_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(scan::run(adapter.clone(), wanted, inputs.clone()));
        Ok(Self {
            adapter,
            listen,
            frames: BTreeMap::new(),
            inputs,
            reports,
            tasks,
        })
    }

    /// Ends connections and scan, and waits for that: BlueZ keeps a connection beyond the program that made it.
    async fn end(self) {
        let Self {
            listen,
            frames,
            mut reports,
            mut tasks,
            ..
        } = self;
        drop((listen, frames));
        reports.close();
        let ended = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(CALL_WAIT, ended).await;
    }
}

/// Never, while there is no life.
async fn next(life: &mut Option<Life>) -> Option<central::Input> {
    match life {
        Some(life) => {
            // Tasks that have ended leave nothing to wait for.
            while life.tasks.try_join_next().is_some() {}
            life.reports.recv().await
        }
        None => std::future::pending().await,
    }
}
