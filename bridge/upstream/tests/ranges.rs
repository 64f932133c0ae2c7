//! Servers that do not do as they are asked, when a part of an object is read.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::thread;

use berth_bridge::{Upstream, size_bytes_max};
use berth_repository::Id;
use berth_upstream::{Credentials, Place};
use berth_wire::ObjectKind;

const PACK: ObjectKind = ObjectKind::Pack;

/// Answers every request alike: with a status line and headers, and a body. Its URL.
fn server(head: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever has enough hangs up.
            let _ = answer(stream, head, &body);
        }
    });
    format!("http://{address}/")
}

fn answer(mut stream: TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn upstream(kind: &str, url: &str) -> Box<dyn Upstream> {
    let place = Place::open(
        format!("{kind}:{url}").parse().unwrap(),
        Credentials::read("/nowhere".as_ref(), |_| None).unwrap(),
        [7; 32],
    );
    place.unwrap().repository("laptop").unwrap()
}

fn body() -> Vec<u8> {
    (0..=255).cycle().take(300_000).collect()
}

#[test]
fn a_server_that_sends_everything_gives_the_part_that_was_asked_for() {
    let url = server("200 OK", body());
    for kind in ["rest", "webdav"] {
        let mut upstream = upstream(kind, &url);
        let mut read = |range: Range<u64>| upstream.read(PACK, &Id::of(b"x"), Some(range)).unwrap().unwrap();
        assert_eq!(read(100_000..100_003), body()[100_000..100_003], "{kind}");
        assert_eq!(read(299_999..900_000), body()[299_999..], "{kind}");
        assert_eq!(read(0..4), body()[..4], "{kind}");
        assert_eq!(read(300_000..300_001), [][..], "{kind}");
    }
}

#[test]
fn a_part_is_never_more_than_was_asked_for() {
    let url = server("206 Partial Content\r\nContent-Range: bytes 10-19/300000", body());
    for kind in ["rest", "webdav"] {
        match upstream(kind, &url).read(PACK, &Id::of(b"x"), Some(10..20)) {
            Ok(read) => assert_eq!(read.unwrap().len(), 10, "{kind}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn another_part_is_not_taken_for_the_one_that_was_asked_for() {
    for head in [
        "206 Partial Content\r\nContent-Range: bytes 11-20/30",
        "206 Partial Content",
    ] {
        let url = server(head, vec![1; 10]);
        let read = upstream("rest", &url).read(PACK, &Id::of(b"x"), Some(10..20));
        assert!(read.is_err(), "{head}");
    }
}

#[test]
fn an_object_larger_than_any_is_refused_and_so_is_a_part_of_that_length() {
    let size_bytes_max = size_bytes_max(ObjectKind::Key);
    let url = server("200 OK", vec![0; usize::try_from(size_bytes_max).unwrap() + 1]);
    for kind in ["rest", "webdav"] {
        let mut upstream = upstream(kind, &url);
        let id = Id::of(b"x");
        assert!(upstream.read(ObjectKind::Key, &id, None).is_err(), "{kind}");
        assert!(
            upstream
                .read(ObjectKind::Key, &id, Some(0..size_bytes_max + 1))
                .is_err()
        );
        assert!(upstream.read(ObjectKind::Key, &id, Some(5..5)).is_err());
        let all = upstream
            .read(ObjectKind::Key, &id, Some(0..size_bytes_max))
            .unwrap();
        assert_eq!(all.unwrap().len() as u64, size_bytes_max, "{kind}");
    }
}
