//! What a channel promises, whatever handshake it came from.

use super::*;

fn pair(cipher: CipherKind) -> (Channel, Channel) {
    let (there, back) = ([1; 32], [2; 32]);
    (
        Channel::new(cipher, &there, &back, [3; 32]),
        Channel::new(cipher, &back, &there, [3; 32]),
    )
}

#[test]
fn what_is_sealed_opens_on_the_other_side_only_and_in_both_directions() {
    for cipher in [CipherKind::ChaChaPoly, CipherKind::AesGcm] {
        let (mut laptop, mut hub) = pair(cipher);
        for size_bytes in [0, 1, 15, 16, 17, 4096, PLAIN_SIZE_BYTES_MAX] {
            let plain = vec![7; size_bytes];
            let sealed = laptop.seal(&plain).unwrap();
            assert_eq!(sealed.len(), size_bytes + TAG_SIZE_BYTES);
            assert_eq!(
                laptop.open(&sealed),
                Err(ChannelError::Forged),
                "a message went back to its sender"
            );
            assert_eq!(hub.open(&sealed).unwrap(), plain);
            assert_eq!(laptop.open(&hub.seal(&plain).unwrap()).unwrap(), plain);
        }
    }
}

#[test]
fn a_changed_repeated_or_left_out_message_is_refused_and_the_right_one_still_opens() {
    let (mut laptop, mut hub) = pair(CipherKind::ChaChaPoly);
    let [first, second, third] = ["one", "two", "three"].map(|text| laptop.seal(text.as_bytes()).unwrap());
    for place in 0..first.len() {
        let mut changed = first.to_vec();
        changed[place] ^= 1;
        assert_eq!(hub.open(&changed), Err(ChannelError::Forged));
    }
    for cut in 0..first.len() {
        assert_eq!(hub.open(&first[..cut]), Err(ChannelError::Forged));
    }
    assert_eq!(hub.open(&second), Err(ChannelError::Forged));
    assert_eq!(hub.open(&first).unwrap(), "one");
    assert_eq!(hub.open(&first), Err(ChannelError::Forged));
    assert_eq!(hub.open(&third), Err(ChannelError::Forged));
    assert_eq!(hub.open(&second).unwrap(), "two");
    assert_eq!(hub.open(&third).unwrap(), "three");
}

#[test]
fn a_message_over_the_limit_is_refused_and_nothing_is_used_up() {
    let (mut laptop, mut hub) = pair(CipherKind::AesGcm);
    let size_bytes = PLAIN_SIZE_BYTES_MAX + 1;
    let too_long = vec![0; size_bytes];
    assert_eq!(laptop.seal(&too_long), Err(ChannelError::TooLong { size_bytes }));
    let mut out = BytesMut::from(&b"before"[..]);
    assert!(laptop.sender.seal_framed(&too_long, &mut out).is_err());
    assert_eq!(out, "before");
    assert!(hub.open(&vec![0; MESSAGE_SIZE_BYTES_MAX + 1]).is_err());
    assert_eq!(hub.open(&laptop.seal(b"next").unwrap()).unwrap(), "next");
}

#[test]
fn messages_come_off_a_stream_however_it_is_cut() {
    for piece_size_bytes in [1, 2, 3, 17, 1000, 1 << 20] {
        let (laptop, hub) = pair(CipherKind::ChaChaPoly);
        let ((mut sender, _), (_, mut receiver)) = (laptop.split(), hub.split());
        let sent: Vec<Vec<u8>> = (0..40_u8)
            .map(|number| vec![number; usize::from(number) * 37])
            .collect();
        let mut wire = BytesMut::new();
        for message in &sent {
            sender.seal_framed(message, &mut wire).unwrap();
        }
        let (mut stream, mut came) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(piece_size_bytes) {
            stream.extend_from_slice(piece);
            while let Some(message) = receiver.open_framed(&mut stream).unwrap() {
                came.push(message.to_vec());
            }
        }
        assert_eq!(came, sent);
        assert!(stream.is_empty());
    }
}

#[test]
fn a_length_too_short_for_a_tag_ends_the_stream() {
    let (_, mut hub) = pair(CipherKind::ChaChaPoly);
    let mut stream = BytesMut::from(&[0, 15][..]);
    stream.extend_from_slice(&[0; 15]);
    assert_eq!(hub.receiver.open_framed(&mut stream), Err(ChannelError::Forged));
}

#[test]
fn the_halves_work_from_two_threads() {
    let (laptop, hub) = pair(CipherKind::AesGcm);
    let ((mut to_hub, mut from_hub), (mut to_laptop, mut from_laptop)) = (laptop.split(), hub.split());
    let messages = 2_000_u32;
    let (there, back) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..messages {
                let mut out = BytesMut::new();
                to_hub.seal(&number.to_le_bytes(), &mut out).unwrap();
                there.0.send(out).unwrap();
            }
        });
        scope.spawn(move || {
            for number in 0..messages {
                let plain = from_laptop.open(there.1.recv().unwrap()).unwrap();
                assert_eq!(plain[..], number.to_le_bytes());
                let mut out = BytesMut::new();
                to_laptop.seal(&plain, &mut out).unwrap();
                back.0.send(out).unwrap();
            }
        });
        for number in 0..messages {
            assert_eq!(
                from_hub.open(back.1.recv().unwrap()).unwrap()[..],
                number.to_le_bytes()
            );
        }
    });
}

#[test]
fn no_message_is_numbered_with_the_number_kept_for_rekeying() {
    let (mut laptop, _) = pair(CipherKind::ChaChaPoly);
    laptop.sender.0.number = u64::MAX - 1;
    laptop.seal(b"last").unwrap();
    assert_eq!(laptop.seal(b"one more"), Err(ChannelError::Exhausted));
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", pair(CipherKind::ChaChaPoly).0);
    assert!(!shown.contains("key") && shown.contains("number"), "{shown}");
}
