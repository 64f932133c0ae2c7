//! The thread on which the tasks of a radio of hardware live, from opening it to its end.
//!
//! Place: [`DriverRadio::on_a_thread`] -> the tasks' `open`, then their `run`, which takes the machine's commands.
//! Invariant: opening ends within [`OPEN_WAIT`], dropping within the time that the tasks are given; commands that wait
//! are bounded.

use std::io;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use berth_radio::{Command, Time};
use tokio::runtime;
use tokio::sync::mpsc;

use crate::{DriverRadio, Teller, Words};

/// Longest time that opening takes: a service that has to start, and an adapter that has to be switched on.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// Commands that may wait; frames beyond half of them are lost.
const COMMANDS_MAX: usize = 4096;

/// Why the tasks of a radio did not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refuses.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// They are not open after 30 s.
    #[error("the radio is not open in time")]
    Silent,
}

impl DriverRadio {
    /// A radio whose tasks run on a thread of their own: `open` begins them, and `run` carries out commands until there
    /// are no more. `clock`: the program's monotonic one. Blocks for 30 s at the most.
    ///
    /// Dropping the radio ends the commands, and waits for `run`, for `end_wait` at the most.
    ///
    /// # Errors
    /// Those of `open`, and [`OpenError`]'s.
    pub fn on_a_thread<T, E: From<OpenError> + Send + 'static>(
        clock: impl Fn() -> Time + Send + Sync + 'static,
        end_wait: Duration,
        open: impl AsyncFnOnce(Words) -> Result<T, E> + Send + 'static,
        run: impl AsyncFnOnce(T, mpsc::Receiver<Command>) + Send + 'static,
    ) -> Result<Self, E> {
        Self::new(clock, |teller| {
            let (give, commands) = mpsc::channel(COMMANDS_MAX);
            let (opened, is_open) = std_mpsc::channel();
            let (ends, ended) = std_mpsc::channel();
            let tasks = move || {
                // Dropped as the last thing.
                let _ends: std_mpsc::Sender<()> = ends;
                let (runtime, words) = match parts(teller) {
                    Ok(parts) => parts,
                    Err(error) => return drop(opened.send(Err(error.into()))),
                };
                runtime.block_on(async {
                    match open(words).await {
                        Ok(radio) => {
                            let _ = opened.send(Ok(()));
                            run(radio, commands).await;
                        }
                        Err(error) => drop(opened.send(Err(error))),
                    }
                });
            };
            let thread = thread::Builder::new().name("radio".into()).spawn(tasks);
            thread.map_err(of_system("no thread for the radio"))?;
            is_open.recv_timeout(OPEN_WAIT).map_err(|_| OpenError::Silent)??;
            let commands = Some(give);
            let open = Open {
                commands,
                ended,
                end_wait,
            };
            let carry_out: Box<dyn FnMut(Command) + Send> = Box::new(move |command| open.give(command));
            Ok(carry_out)
        })
    }
}

fn parts(teller: Teller) -> Result<(runtime::Runtime, Words), OpenError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(of_system("no runtime for the radio"))?;
    let words = Words::new(teller).map_err(of_system("no thread for the radio"))?;
    Ok((runtime, words))
}

fn of_system(what: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::System { what, source }
}

/// The program's end of a radio that is open.
struct Open {
    commands: Option<mpsc::Sender<Command>>,
    ended: std_mpsc::Receiver<()>,
    end_wait: Duration,
}

impl Open {
    fn give(&self, command: Command) {
        let Some(commands) = &self.commands else { return };
        if matches!(command, Command::Send { .. }) && commands.capacity() < COMMANDS_MAX / 2 {
            return;
        }
        if commands.try_send(command).is_err() {
            tracing::error!("a command is lost: the radio is far behind, or has ended");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.ended.recv_timeout(self.end_wait);
    }
}
