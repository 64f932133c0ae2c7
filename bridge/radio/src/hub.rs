//! The thread that owns the hub's radio: one thing at a time, in the order in which it happens.
//!
//! Place: commands, reports of Bluetooth and of the group owner -> the machines -> orders and words.
//! Invariant: while no adapter can be used nothing is ordered, and nothing but `AdapterBack` is told.

use std::path::PathBuf;
use std::time::Duration;

use berth_radio::{Command, Event};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::{Connection, connection};

use crate::advertising::{self, Advertising};
use crate::bluez::{self, Life, Wanted, Which};
use crate::bring_up::main_netdev;
use crate::connections::{self, BLUEZ_NAME};
use crate::error::{BLUEZ, HubRadioError};
use crate::given::take_back;
use crate::group::{self, Group};
use crate::links::{self, Links};
use crate::owner;
use berth_net::{Word, Words};

/// Longest wait for an answer on the bus.
const CALL_WAIT: Duration = Duration::from_secs(5);

/// How long a hub that has just started waits for an adapter where none can be used: the system may still be looking for
/// it.
const COMING_WAIT: Duration = Duration::from_secs(5);

/// How long a new life of Bluetooth rests after one that ended: what ends at once is not begun all the time.
const LIFE_REST: Duration = Duration::from_secs(1);

/// Orders to the group owner, and its reports, that may wait.
const OWNER_MAX: usize = 64;

/// The parts that are there from the beginning to the end.
pub(crate) struct Hub {
    words: Words,
    bus: Connection,
    bluetooth: Option<Life>,
    /// The radio's for good: on another one it would be another hub to who is connected.
    adapter: bluer::Address,
    /// As in `hci0`, in this life of it.
    adapter_name: String,
    is_there: bool,
    advertising: Advertising,
    links: Links,
    group: Group,
    owner: mpsc::Sender<owner::Order>,
    owner_reports: mpsc::Receiver<owner::Report>,
    owner_task: tokio::task::JoinHandle<()>,
}

impl Hub {
    /// Looks at what there is, removes what a crash has left, and waits for a Bluetooth adapter that can be used.
    pub(crate) async fn open(
        words: Words,
        adapter: Option<String>,
        folder: PathBuf,
    ) -> Result<Self, HubRadioError> {
        let bus = connect().await.map_err(HubRadioError::NoBus)?;
        owner::clear(&bus, &[]).await;
        take_back(&bus, &folder).await;
        main_netdev(&bus, &folder).await?;
        let names = DBusProxy::new(&bus).await.map_err(HubRadioError::NoBus)?;
        // A bus that starts services has it running then.
        let _ = names
            .start_service_by_name(BLUEZ_NAME.try_into().map_err(HubRadioError::NoBus)?, 0)
            .await;
        if !is_bluez_there(&names).await? {
            return Err(HubRadioError::NoBluez);
        }
        let mut bluetooth = Life::begin(
            Duration::ZERO,
            Wanted {
                adapter: adapter.map_or(Which::Any, Which::Named),
                may_power: true,
            },
        )?;
        let mut why = None;
        let (adapter_name, adapter) = loop {
            // Until it has said what there is, its calls have deadlines of their own.
            let report = match &why {
                None => bluetooth.reports.recv().await,
                Some(_) => timeout(COMING_WAIT, bluetooth.reports.recv())
                    .await
                    .ok()
                    .flatten(),
            };
            match report {
                Some(bluez::Report::There { name, address }) => break (name, address),
                Some(bluez::Report::Waiting(reason)) => why = Some(reason),
                Some(bluez::Report::Over(why)) => return Err(why),
                Some(_) => {}
                None => return Err(why.unwrap_or(HubRadioError::Silent { service: BLUEZ })),
            }
        };
        let (owner, orders) = mpsc::channel(OWNER_MAX);
        let (reports, owner_reports) = mpsc::channel(OWNER_MAX);
        let owner_task = tokio::spawn(owner::run(bus.clone(), folder, orders, reports));
        Ok(Self {
            words,
            bus,
            bluetooth: Some(bluetooth),
            adapter,
            adapter_name,
            is_there: true,
            advertising: Advertising::default(),
            links: Links::default(),
            group: Group::default(),
            owner,
            owner_reports,
            owner_task,
        })
    }

    /// Until there are no more commands; then nothing is left in the air.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        if let Err(error) = self.serve(&mut commands).await {
            warn!(%error, "the system bus is gone, and the radio with it");
            self.adapter_gone().await;
            while commands.recv().await.is_some() {}
        }
        let Self {
            owner,
            mut owner_reports,
            owner_task,
            ..
        } = self;
        drop(owner);
        while owner_reports.recv().await.is_some() {}
        let _ = owner_task.await;
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> zbus::Result<()> {
        let names = DBusProxy::new(&self.bus).await?;
        let mut bluez = names
            .receive_name_owner_changed_with_args(&[(0, BLUEZ_NAME)])
            .await?;
        let mut connections = connections::ended(&self.bus).await?;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return Ok(()),
                },
                report = next_report(&mut self.bluetooth) => self.bluetooth(report).await,
                Some(report) = self.owner_reports.recv() => self.owner(report).await,
                Some(adapter) = connections.next() => {
                    if adapter == self.adapter_name {
                        self.advertise(advertising::Input::Disconnected);
                    }
                }
                change = bluez.next() => {
                    let Some(change) = change else {
                        return Err(zbus::Error::InputOutput(std::sync::Arc::new(
                            std::io::ErrorKind::ConnectionAborted.into(),
                        )));
                    };
                    let is_running = change.args()?.new_owner().is_some();
                    info!(is_running, "BlueZ");
                    self.bluetooth = None;
                    self.adapter_gone().await;
                    if is_running {
                        self.begin(Duration::ZERO, true);
                    }
                }
            }
        }
    }

    fn begin(&mut self, rest: Duration, may_power: bool) {
        let adapter = Which::Address(self.adapter);
        match Life::begin(rest, Wanted { adapter, may_power }) {
            Ok(life) => self.bluetooth = Some(life),
            Err(error) => warn!(%error, "no Bluetooth until BlueZ starts anew"),
        }
    }

    /// What the adapter's absence makes impossible is ignored, as the contract says.
    async fn command(&mut self, command: Command) {
        if !self.is_there {
            return;
        }
        match command {
            Command::Advertise { beacon } => self.advertise(advertising::Input::Want(Some(beacon))),
            Command::StopAdvertising => self.advertise(advertising::Input::Want(None)),
            Command::Send { conn, frame } => self.link(links::Input::Send { conn, frame }).await,
            Command::Disconnect { conn } => self.link(links::Input::Disconnect { conn }).await,
            Command::StartGroup => self.group(group::Input::Start).await,
            Command::StopGroup => self.group(group::Input::Stop).await,
            // A laptop's, and those of streams, which are carried out elsewhere.
            Command::Scan
            | Command::StopScanning
            | Command::Connect { .. }
            | Command::Join { .. }
            | Command::Leave
            | Command::Dial
            | Command::Reach { .. }
            | Command::Write { .. }
            | Command::Hold { .. }
            | Command::Resume { .. }
            | Command::CloseStream { .. } => {}
        }
    }

    async fn bluetooth(&mut self, report: Option<bluez::Report>) {
        use bluez::Report;
        match report {
            Some(Report::Waiting(error)) => warn!(%error, "no Bluetooth for now"),
            Some(Report::There { name, .. }) => {
                self.adapter_name = name;
                self.is_there = true;
                self.words.say(Word::Event(Event::AdapterBack)).await;
            }
            Some(Report::Registered(is_registered)) => {
                self.advertise(advertising::Input::Registered(is_registered))
            }
            Some(Report::Due(input)) => self.advertise(input),
            Some(Report::Subscribed { peer, limit_bytes }) => {
                self.advertise(advertising::Input::Connected);
                self.link(links::Input::Subscribed { peer, limit_bytes }).await;
            }
            Some(Report::Frame { peer, frame }) => self.link(links::Input::Frame { peer, frame }).await,
            Some(Report::Gone { peer }) => self.link(links::Input::Gone { peer }).await,
            Some(Report::Over(why)) => {
                warn!(error = %why, "the Bluetooth adapter is gone");
                self.adapter_gone().await;
                // Whoever has switched it off wants it off.
                self.begin(LIFE_REST, !matches!(why, HubRadioError::AdapterOff { .. }));
            }
            None => {
                self.bluetooth = None;
                self.adapter_gone().await;
            }
        }
    }

    async fn owner(&mut self, report: owner::Report) {
        use owner::Report;
        match report {
            Report::Up { number, credentials } => self.group(group::Input::Up { number, credentials }).await,
            Report::Ended(number) => self.group(group::Input::Ended { number }).await,
            Report::Down(number) => self.group(group::Input::Down { number }).await,
            Report::Accepted {
                number,
                socket,
                ticket,
            } => {
                if self.group.is_up(number) {
                    self.words.say(Word::Open { socket, ticket }).await;
                }
            }
        }
    }

    fn advertise(&mut self, input: advertising::Input) {
        use advertising::Effect;
        let mut effects = Vec::new();
        self.advertising.handle(input, &mut effects);
        for effect in effects {
            self.order(match effect {
                Effect::Register(beacon) => bluez::Order::Register(beacon),
                Effect::Unregister => bluez::Order::Unregister,
                Effect::Later(time, input) => bluez::Order::Later(time, input),
            });
        }
    }

    async fn link(&mut self, input: links::Input) {
        use links::Effect;
        let mut effects = Vec::new();
        self.links.handle(input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Tell(event) => self.words.say(Word::Event(event)).await,
                Effect::Notify { peer, frame } => self.order(bluez::Order::Notify { peer, frame }),
                Effect::HangUp { peer } => self.order(bluez::Order::HangUp { peer }),
            }
        }
    }

    fn order(&self, order: bluez::Order) {
        if let Some(life) = &self.bluetooth {
            life.order(order);
        }
    }

    async fn group(&mut self, input: group::Input) {
        use group::Effect;
        let mut effects = Vec::new();
        self.group.handle(input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Tell(event) => self.words.say(Word::Event(event)).await,
                Effect::EndStreams => self.words.say(Word::EndStreams).await,
                Effect::BringUp { number } => self.order_owner(owner::Order::BringUp(number)).await,
                Effect::TakeDown { number } => self.order_owner(owner::Order::TakeDown(number)).await,
            }
        }
    }

    /// The owner may be waiting for room for its own reports.
    async fn order_owner(&mut self, order: owner::Order) {
        let _ = self.owner.try_send(order);
    }

    async fn adapter_gone(&mut self) {
        if !std::mem::take(&mut self.is_there) {
            return;
        }
        self.advertising = Advertising::default();
        self.link(links::Input::AdapterGone).await;
        self.group(group::Input::AdapterGone).await;
        self.words.say(Word::AdapterGone).await;
    }
}

async fn connect() -> zbus::Result<Connection> {
    connection::Builder::system()
        .method_timeout(CALL_WAIT)
        .build()
        .await
}

async fn is_bluez_there(names: &DBusProxy<'_>) -> Result<bool, HubRadioError> {
    let name = BusName::try_from(BLUEZ_NAME).map_err(HubRadioError::NoBus)?;
    names
        .name_has_owner(name)
        .await
        .map_err(|error| HubRadioError::NoBus(error.into()))
}

/// Never, where there is no life.
async fn next_report(bluetooth: &mut Option<Life>) -> Option<bluez::Report> {
    match bluetooth {
        Some(life) => life.reports.recv().await,
        None => std::future::pending().await,
    }
}
