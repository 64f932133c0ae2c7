//! `berth leave`: "I must go".

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::args::Options;
use crate::{Outcome, control, place, say, tell};

pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let folder = place::folder(options)?;
    let answer = match control::ask_visitor(&folder, "leave")? {
        Some(mut asked) => asked.next()?,
        None => Some(json!({ "left": false })),
    };
    let Some(mut answer) = answer else {
        bail!("the program whose visit this was ended; see `berth status`");
    };
    let words = answer.get("words").and_then(Value::as_str).map(str::to_owned);
    if options.json {
        if let Some(fields) = answer.as_object_mut() {
            fields.remove("done");
            fields.remove("words");
            fields.insert("event".into(), "left".into());
        }
        say(&answer.to_string());
    } else {
        tell(words.as_deref().unwrap_or("No backup is under way. You may go."));
    }
    Ok(Outcome::Done)
}
