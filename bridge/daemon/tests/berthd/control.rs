//! What the control socket stands.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::support::Hub;

fn first_line(stream: UnixStream) -> Value {
    let mut line = String::new();
    // A connection that was reset has said all it had to say.
    let _ = BufReader::new(stream).read_line(&mut line);
    serde_json::from_str(&line).unwrap_or(Value::Null)
}

#[test]
fn garbage_is_answered_with_an_error_and_harms_nobody() {
    let place = tempfile::tempdir().unwrap();
    let hub = Hub::start(&place.path().join("hub"), &[]);
    for sent in [
        &b"\n"[..],
        b"\0\xff\xfe\n",
        b"{\"do\":\"explode\"}\n",
        b"{\"do\":\"revoke\"}\n",
        b"[[[[[[[[[[[[[[[[[[[[\n",
    ] {
        let mut stream = hub.connect();
        stream.write_all(sent).unwrap();
        assert!(first_line(stream)["error"].is_string(), "{sent:?}");
    }
    assert!(hub.is_well());
    hub.stop();
}

#[test]
fn a_line_of_10_mb_is_cut_off_and_the_hub_does_not_keep_it() {
    let place = tempfile::tempdir().unwrap();
    let hub = Hub::start(&place.path().join("hub"), &[]);
    let mut stream = hub.connect();
    let sent = stream.write_all(&vec![b'a'; 10_000_000]);
    assert!(sent.is_err(), "10 MB were taken in one line");
    assert!(hub.is_well());
    hub.stop();
}

#[test]
fn a_thousand_connections_and_clients_that_never_read_leave_the_hub_well() {
    let place = tempfile::tempdir().unwrap();
    let hub = Hub::start(&place.path().join("hub"), &[]);
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..1_000 {
        let mut stream = hub.connect();
        // Some ask and never read, most say nothing.
        if held.len() % 2 == 0 {
            let _ = writeln!(stream, "{}", json!({ "do": "status" }));
        }
        stream.set_nonblocking(true).unwrap();
        held.push(stream);
    }
    for stream in &mut held {
        let mut bytes = [0; 256];
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(20)))
            .unwrap();
        if let Ok(length) = stream.read(&mut bytes) {
            refused += usize::from(String::from_utf8_lossy(&bytes[..length]).contains("too many"));
        }
    }
    assert!(refused > 500, "only {refused} of 1,000 connections were refused");
    drop(held);
    // Places are free again once the hub has noticed; each refusal is an answer, so this waits for the hub and for nothing else.
    let well = (0..1_000).any(|_| hub.is_well());
    assert!(well);
    hub.stop();
}

#[test]
fn two_administrators_see_the_same_window_and_it_closes_with_the_last() {
    let place = tempfile::tempdir().unwrap();
    let hub = Hub::start(&place.path().join("hub"), &[]);
    let watch = || {
        let mut stream = hub.connect();
        writeln!(stream, "{}", json!({ "do": "pair" })).unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], "code");
        (lines, event["code"].as_str().unwrap().to_owned())
    };
    let (first, code) = watch();
    let (second, same) = watch();
    assert_eq!(code, same);
    assert_eq!(hub.ask(&json!({ "do": "status" }))[0]["pairing"], true);
    drop(first);
    let (third, still) = watch();
    assert_eq!(code, still, "the window closed although somebody watched");
    drop((second, third));
    let closed = hub.wait_for("the pairing window is closed");
    assert!(
        closed
            .iter()
            .all(|line| !line.contains(&code) && !line.contains(&code.replace('-', "")))
    );
    let (_fourth, fresh) = watch();
    assert_ne!(code, fresh, "a closed window's code was shown again");
    let log = hub.stop();
    assert!(
        log.iter().all(|line| !line.contains(&fresh)),
        "the code was logged"
    );
}

#[test]
fn an_unknown_laptop_is_refused_with_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let hub = Hub::start(&place.path().join("hub"), &[]);
    for request in [
        json!({ "do": "revoke", "laptop": "nobody" }),
        json!({ "do": "sets", "laptop": "../../etc" }),
    ] {
        let error = hub.ask(&request)[0]["error"].as_str().unwrap().to_owned();
        assert!(error.contains("berthctl devices"), "{error}");
    }
    let error = hub.ask(&json!({ "do": "forward" }))[0]["error"].clone();
    assert!(
        error.as_str().unwrap().contains("berthctl upstream set"),
        "{error}"
    );
    assert_eq!(hub.ask(&json!({ "do": "devices" })), [json!({ "done": true })]);
    assert_eq!(hub.ask(&json!({ "do": "sets" })), [json!({ "done": true })]);
    hub.stop();
}
