//! `berthctl` as a process, against a hub that says what the test wants.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tempfile::TempDir;

struct FakeHub {
    place: TempDir,
    asked: JoinHandle<Value>,
}

impl FakeHub {
    /// Answers one request with these lines.
    fn answering(lines: Vec<Value>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(place.path().join("control.sock")).unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut request)
                .unwrap();
            for line in lines {
                // Whoever has heard the end may leave before the last line is written.
                if writeln!(stream, "{line}").is_err() {
                    break;
                }
            }
            serde_json::from_str(&request).unwrap()
        });
        Self { place, asked }
    }

    /// Runs `berthctl` with its state: what was asked, and what it said.
    fn run(self, args: &[&str]) -> (Value, Said) {
        let said = berthctl(self.place.path(), args);
        (self.asked.join().unwrap(), said)
    }
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn berthctl(state: &Path, args: &[&str]) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_berthctl"))
        .args(args)
        .arg("--state")
        .arg(state)
        .output()
        .unwrap();
    Said {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

fn set(laptop: &str, key: &str, seq: u64, state: &str) -> Value {
    let sealed = state != "open";
    json!({
        "key": key.repeat(8), "laptop": laptop, "seq": seq, "kind": sealed.then_some("complete"), "state": state,
        "created_at": "2026-01-02T03:04:05Z", "sealed_at": sealed.then_some("2026-01-02T03:05:00Z"),
        "snapshot": sealed.then(|| "ab".repeat(32)), "objects": sealed.then_some(12), "bytes": sealed.then_some(16_777_216),
        "forwarded_at": null,
    })
}

#[test]
fn lists_are_aligned_within_80_columns_and_tell_laptops_of_one_name_apart() {
    let long = "a-name-of-sixty-three-characters-as-long-as-a-name-can-be-today";
    let sets = vec![
        set("desk", "11111111", 1, "forwarding"),
        set("desk", "22222222", 123_456, "open"),
        set(long, "33333333", 7, "complete"),
        json!({ "done": true }),
    ];
    let (asked, said) = FakeHub::answering(sets).run(&["sets"]);
    assert_eq!(asked, json!({ "do": "sets", "laptop": null }));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", said.out);
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{}",
        said.out
    );
    assert!(lines[1].contains("11111111") && lines[2].contains("22222222") && !lines[3].contains("33333333"));
    let column = |line: &str, text: &str| line.find(text).unwrap();
    assert_eq!(
        column(lines[0], "STATE"),
        column(lines[2], "open"),
        "{}",
        said.out
    );
}

#[test]
fn json_lists_are_one_array_of_exactly_the_promised_fields() {
    for args in [["sets", "desk", "--json"], ["--json", "sets", "desk"]] {
        let answers = vec![set("desk", "11111111", 1, "open"), json!({ "done": true })];
        let (asked, said) = FakeHub::answering(answers).run(&args);
        assert_eq!(asked["laptop"], "desk");
        let sets: Vec<serde_json::Map<String, Value>> = serde_json::from_str(&said.out).unwrap();
        let fields: Vec<&str> = sets[0].keys().map(String::as_str).collect();
        let promised = [
            "bytes",
            "created_at",
            "forwarded_at",
            "kind",
            "laptop",
            "objects",
            "sealed_at",
            "seq",
            "snapshot",
            "state",
        ];
        assert_eq!(fields, promised);
        assert!(sets[0]["kind"].is_null());
    }
    let (_, said) = FakeHub::answering(vec![json!({ "done": true })]).run(&["devices", "--json"]);
    assert_eq!(said.out, "[]\n");
}

#[test]
fn pair_prints_the_code_and_how_it_ended() {
    let code = json!({ "event": "code", "code": "1234-5678", "closes_in_s": 120 });
    let failed = json!({ "event": "failed", "why": "A wrong code came in." });
    let paired = json!({ "event": "paired", "laptop": "desk" });
    let closed = json!({ "event": "closed", "why": "Nobody paired." });
    let done = json!({ "done": true });
    let answers = vec![code.clone(), failed.clone(), paired.clone(), done.clone()];
    let (asked, said) = FakeHub::answering(answers).run(&["pair", "--json"]);
    assert_eq!(asked, json!({ "do": "pair" }));
    let lines: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, [json!({ "event": "code", "code": "1234-5678" }), paired]);
    assert_eq!(said.code, Some(0));
    let (_, said) =
        FakeHub::answering(vec![code.clone(), closed.clone(), done.clone()]).run(&["pair", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(said.out.lines().last().unwrap()).unwrap(),
        closed
    );
    assert_eq!(said.code, Some(1));
    let (_, said) = FakeHub::answering(vec![code.clone(), failed, closed, done]).run(&["pair"]);
    assert!(
        said.out.contains("1234-5678") && said.out.contains("██"),
        "{}",
        said.out
    );
    assert!(said.out.contains("A wrong code came in.") && said.out.contains("Nobody paired."));
    assert!(
        said.out.lines().all(|line| line.chars().count() <= 80),
        "{}",
        said.out
    );
    assert!(!said.out.contains('\u{1b}'), "colours where there is no terminal");
    let (_, said) = FakeHub::answering(vec![code]).run(&["pair"]);
    assert_eq!(said.code, Some(1), "a hub that stopped looked like a pairing");
}

#[test]
fn what_is_wrong_decides_the_exit_code() {
    let done = json!({ "done": true });
    let failed = json!({ "event": "failed", "laptop": "desk", "why": "no" });
    let (_, said) = FakeHub::answering(vec![failed, done.clone()]).run(&["forward"]);
    assert_eq!(said.code, Some(1));
    let (_, said) = FakeHub::answering(vec![done.clone()]).run(&["forward"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "Nothing was waiting.\n")
    );
    let forwarded = json!({ "event": "forwarded", "laptop": "desk", "set": 1 });
    let sent = json!({ "event": "progress", "laptop": "desk", "set": 1, "bytes_sent": 5 });
    for (events, array) in [
        (vec![], json!([])),
        (vec![sent, forwarded.clone()], json!([forwarded])),
    ] {
        let answers = [events, vec![done.clone()]].concat();
        let (_, said) = FakeHub::answering(answers).run(&["forward", "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap(), array);
    }
    let fault =
        json!({ "event": "fault", "laptop": "desk", "set": 1, "path": "laptops/x/y", "what": "damaged" });
    let verified =
        |faults| json!({ "event": "verified", "objects": 3, "bytes": 9, "reclaimed": 2, "faults": faults });
    let (_, said) = FakeHub::answering(vec![fault, verified(1), done.clone()]).run(&["verify"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("damaged: laptops/x/y"), "{}", said.out);
    let (_, said) = FakeHub::answering(vec![verified(0), done]).run(&["verify"]);
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("2 more are upstream only"), "{}", said.out);
    let (_, said) = FakeHub::answering(vec![verified(0)]).run(&["verify"]);
    assert_eq!(said.code, Some(1), "an answer that was cut off counted");
    assert_eq!(
        said.err,
        "berthctl: the hub does not answer: the connection has ended\n"
    );
}

#[test]
fn an_error_is_one_line_and_no_hub_is_named() {
    let error = json!({ "error": "there is no laptop \"x\": run `berthctl devices` for the list" });
    let (asked, said) = FakeHub::answering(vec![error]).run(&["revoke", "x"]);
    assert_eq!(asked, json!({ "do": "revoke", "laptop": "x" }));
    assert_eq!(said.code, Some(1));
    assert_eq!(
        said.err,
        "berthctl: there is no laptop \"x\": run `berthctl devices` for the list\n"
    );
    let nowhere = PathBuf::from("/nowhere");
    let said = berthctl(&nowhere, &["status"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.contains("/nowhere/control.sock") && said.err.contains("berthd"),
        "{}",
        said.err
    );
    assert_eq!(berthctl(&nowhere, &["explode"]).code, Some(2));
    assert_eq!(berthctl(&nowhere, &["revoke"]).code, Some(2));
}

#[test]
fn an_upstream_is_told_by_its_whole_path() {
    let set = json!({ "upstream": "/x", "overridden_by": null });
    let (asked, _) = FakeHub::answering(vec![set, json!({ "done": true })]).run(&["upstream", "set", "up"]);
    let here = std::env::current_dir().unwrap();
    assert_eq!(asked, json!({ "do": "set_upstream", "url": here.join("up") }));
}

#[test]
fn an_upstream_that_takes_nothing_is_told_with_since_when_why_and_when_it_is_tried_next() {
    let status = |next_try_at: Value| {
        json!({
            "hub": "desk", "key": "11".repeat(32), "version": "1", "radio": "none", "listen": null, "pairing": false,
            "laptops": 2, "visits": [], "upstream": "/srv/backup", "forward": "auto", "forwards_at": null,
            "forward_bytes_per_second": 2_000_000,
            "forwarding": ["x"], "sets_waiting": 9, "bytes_waiting": 3_200_000_000_u64, "bytes_free": 1_000_000_000,
            "bytes_used": 4_000_000_000_u64, "bytes_used_max": 5_000_000_000_u64,
            "outage": {
                "since": "2026-11-16T12:00:00Z", "tries": 500, "why": "refused", "next_try_at": next_try_at,
            },
            "problems": ["the upstream has taken nothing for 7 d 1 h: refused"],
        })
    };
    let ask = |next_try_at, args: &[&str]| {
        let answers = vec![status(next_try_at), json!({ "done": true })];
        FakeHub::answering(answers).run(args).1
    };
    let said = ask(json!("2026-11-23T13:00:00Z"), &["status"]);
    for words in [
        "9 sets wait to be forwarded, 3.2 GB",
        "4.0 GB of at most 5.0 GB used, 1.0 GB free on the disk",
        "(auto, at most 2.0 MB/s)",
        "nothing since ",
        " 16 Nov ",
        "; next try ",
        " 23 Nov ",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    assert!(
        said.out
            .contains("Attention: the upstream has taken nothing for 7 d 1 h: refused")
    );
    let said = ask(Value::Null, &["status"]);
    assert!(
        said.out.contains("; it is tried when somebody asks"),
        "{}",
        said.out
    );
    let said = ask(Value::Null, &["status", "--json"]);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["outage"], status(Value::Null)["outage"]);
}
