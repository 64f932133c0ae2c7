//! A radio of tasks holds the contract of streams, whatever carries its groups.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod lab;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use berth_net::{DriverRadio, OpenError, Teller, Word, Words};
use berth_radio::conformance::{Bench, Held, PROMISES, Role};
use berth_radio::{Address, Command, Event, GroupCredentials, Joined, Radio};
use lab::{SILENCE, expect, local, opened, pick, real_clock};

/// Where the group that is up listens.
type Group = Arc<Mutex<Option<SocketAddr>>>;

/// A hub's and a laptop's radio, whose groups are the loopback network.
struct Looped(DriverRadio, DriverRadio);

impl Looped {
    fn new() -> Self {
        let group = Group::default();
        Self(radio(&group, hub), radio(&group, laptop))
    }
}

impl Bench for Looped {
    fn radio(&mut self, role: Role) -> &mut dyn Radio {
        match role {
            Role::Hub => &mut self.0,
            Role::Laptop => &mut self.1,
        }
    }

    fn silence(&self) -> Duration {
        SILENCE
    }
}

fn radio(group: &Group, carry_out: fn(&Teller, &Group, Command)) -> DriverRadio {
    let group = Arc::clone(group);
    let begun = DriverRadio::new(real_clock(), |teller| {
        let (give, take) = mpsc::channel();
        thread::spawn(move || {
            for command in take {
                carry_out(&teller, &group, command);
            }
        });
        Ok::<_, Infallible>(Box::new(move |command| give.send(command).unwrap()))
    });
    let Ok(radio) = begun;
    radio
}

fn hub(teller: &Teller, group: &Group, command: Command) {
    match command {
        Command::StartGroup => {
            let listener = TcpListener::bind(local()).unwrap();
            let address = listener.local_addr().unwrap();
            *group.lock().unwrap() = Some(address);
            let of_streams = teller.clone();
            thread::spawn(move || {
                for socket in listener.incoming().map_while(Result::ok) {
                    of_streams.open(socket, Arc::default());
                }
            });
            let credentials = GroupCredentials {
                ssid: "DIRECT-xy".to_owned(),
                passphrase: "passphrase".to_owned(),
                frequency_mhz: 5180,
                endpoint: address.to_string(),
                device: Address(0x0200_0000_0001),
            };
            teller.tell(Event::GroupStarted { credentials });
        }
        Command::StopGroup => {
            teller.end_streams();
            teller.tell(Event::GroupStopped);
        }
        _ => {}
    }
}

fn laptop(teller: &Teller, group: &Group, command: Command) {
    match command {
        Command::Join { .. } => teller.tell(Event::Joined(Joined::DIRECTLY)),
        Command::Dial => {
            let address = group.lock().unwrap().unwrap();
            teller.open(TcpStream::connect(address).unwrap(), Arc::default());
        }
        _ => {}
    }
}

#[test]
fn streams_of_a_radio_of_tasks_hold_every_promise_about_streams() {
    let names = [
        "a_wait_without_events_ends_at_its_deadline",
        "a_waker_ends_one_wait_and_no_more",
        "a_stream_carries_both_ways_in_order",
        "drained_adds_up_to_what_was_written",
        "a_whole_window_is_taken_at_once",
        "a_receiver_that_stops_reading_stops_its_sender",
        "a_held_stream_waits_alone_and_loses_nothing",
        "a_closed_stream_delivers_what_was_written_first",
        "a_piece_over_the_limit_ends_the_stream",
    ];
    for name in names {
        let promise = PROMISES.iter().find(|promise| promise.name == name).unwrap();
        assert_eq!(promise.check(&mut Looped::new()), Ok(Held::Yes));
    }
}

#[test]
fn the_streams_of_a_group_are_told_as_closed_before_the_group_is() {
    let Looped(mut hub, mut laptop) = Looped::new();
    hub.command(Command::StartGroup);
    let credentials = pick(&mut hub, |event| match event {
        Event::GroupStarted { credentials } => Some(credentials),
        _ => None,
    });
    laptop.command(Command::Join { credentials });
    expect(&mut laptop, &Event::Joined(Joined::DIRECTLY));
    let mut streams = Vec::new();
    for _ in 0..3 {
        laptop.command(Command::Dial);
        opened(&mut laptop);
        streams.push(opened(&mut hub));
    }
    hub.command(Command::StopGroup);
    let closed = streams.into_iter().map(|stream| Event::StreamClosed { stream });
    for event in closed.chain([Event::GroupStopped]) {
        let deadline = hub.now() + lab::WAIT;
        assert_eq!(hub.event(deadline), Some(event));
    }
}

/// How long a dropped radio waits here for its tasks.
const END_WAIT: Duration = lab::WAIT;

#[test]
fn what_keeps_tasks_from_beginning_is_told() {
    let open = async |_: Words| Err::<(), _>(OpenError::Silent);
    let begun = DriverRadio::on_a_thread(real_clock(), END_WAIT, open, async |(), _| {});
    assert!(matches!(begun, Err(OpenError::Silent)));
}

#[test]
fn tasks_take_commands_in_order_and_have_ended_when_their_radio_is_dropped() {
    let (told, ended) = mpsc::channel();
    let run = async move |words: Words, mut commands: tokio::sync::mpsc::Receiver<Command>| {
        while let Some(command) = commands.recv().await {
            let event = match command {
                Command::StartGroup => Event::GroupFailed,
                _ => Event::JoinFailed,
            };
            words.say(Word::Event(event)).await;
        }
        told.send(()).unwrap();
    };
    let open = async |words| Ok::<_, OpenError>(words);
    let mut radio = DriverRadio::on_a_thread(real_clock(), END_WAIT, open, run).unwrap();
    radio.command(Command::StartGroup);
    radio.command(Command::Leave);
    for event in [Event::GroupFailed, Event::JoinFailed] {
        let deadline = radio.now() + lab::WAIT;
        assert_eq!(radio.event(deadline), Some(event));
    }
    drop(radio);
    assert_eq!(ended.try_recv(), Ok(()));
}
