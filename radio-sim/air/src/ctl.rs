//! Orders to an air that runs.

use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use berth_net::{AirError, Done, give_order};
use serde_json::json;

use crate::args::OrderArgs;
use crate::{print, say};

pub(crate) fn run(order: &OrderArgs, path: &Path, json: bool) -> Result<()> {
    let link = UnixStream::connect(path).with_context(|| {
        let shown = path.display();
        format!("no air is open at {shown}: start one with `berth-air --socket {shown}`")
    })?;
    let mut lines = Vec::new();
    let done =
        give_order(&link, &order.order(), |line| lines.push(line.to_owned())).map_err(
            |error| match error {
                AirError::Refused(why) => anyhow!("{why}"),
                other => anyhow!("{other}: {}", other.advice()),
            },
        )?;
    if json {
        lines
            .iter()
            .for_each(|line| say(&json!({ "event": "line", "line": line })));
        let Done {
            radios,
            lines_dropped,
        } = done;
        say(&json!({ "event": "done", "radios": radios, "lines_dropped": lines_dropped }));
    } else {
        tell(order, &lines, done);
    }
    Ok(())
}

fn tell(order: &OrderArgs, lines: &[String], done: Done) {
    let (name, now) = match order {
        OrderArgs::Near { name } => (name, "near".to_owned()),
        OrderArgs::Away { name } => (name, "away".to_owned()),
        OrderArgs::Cut { name } => (name, "cut off".to_owned()),
        OrderArgs::Profile { name, profile } => (name, format!("on {profile}")),
        OrderArgs::Trace => {
            if done.lines_dropped > 0 {
                print(format_args!("({} older lines are gone)", done.lines_dropped));
            }
            return lines.iter().for_each(print);
        }
    };
    match done.radios {
        0 => print(format_args!(
            "{name} is not in the air; it will be {now} when it comes."
        )),
        1 => print(format_args!("{name} is {now}.")),
        radios => print(format_args!("{name} is {now}: {radios} radios have that name.")),
    }
}
