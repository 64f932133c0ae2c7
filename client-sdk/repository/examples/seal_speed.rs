//! How fast chunks are sealed on this machine: `cargo run --release -p berth-repository --example seal_speed [FILE...]`.
//!
//! For each file (without any: made-up text and random bytes) and each zstd level it prints MB/s of one thread and how
//! much smaller the packs are than the file.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement prints and reads the clock"
)]

use std::time::Instant;

use berth_repository::{BlobKind, Id, MasterKey, Sealer};
use rand_core::{OsRng, RngCore as _};

const CHUNK_BYTES: usize = 1024 * 1024;
/// The best counts: what else the machine does only makes it slower.
const RUNS: usize = 3;
const SAMPLE_BYTES: usize = 64 * 1024 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut samples = Vec::new();
    for path in std::env::args().skip(1) {
        samples.push((path.clone(), std::fs::read(path)?));
    }
    if samples.is_empty() {
        let mut random = vec![0; SAMPLE_BYTES];
        OsRng.fill_bytes(&mut random);
        samples.push(("random bytes".to_owned(), random));
        samples.push(("made-up text".to_owned(), text()));
    }
    for (name, sample) in &samples {
        for level in [-1, 1, 3] {
            let (mut bytes, mut seconds) = (0, f64::INFINITY);
            for _ in 0..RUNS {
                let (sealed, took) = seal(sample, level)?;
                (bytes, seconds) = (sealed, seconds.min(took));
            }
            println!(
                "{name}, level {level}: {:.0} MB/s, {:.1} %",
                sample.len() as f64 / 1e6 / seconds,
                100.0 * bytes as f64 / sample.len() as f64
            );
        }
    }
    Ok(())
}

/// Bytes of the sealed chunks, and the seconds it took.
fn seal(sample: &[u8], level: i32) -> Result<(usize, f64), berth_repository::SealError> {
    let mut sealer = Sealer::new(MasterKey::generate(&mut OsRng), level)?;
    let chunks: Vec<(Id, &[u8])> = sample
        .chunks(CHUNK_BYTES)
        .map(|chunk| (Id::of(chunk), chunk))
        .collect();
    let (mut bytes, start) = (0, Instant::now());
    for (id, chunk) in chunks {
        let mut nonce = [0; 16];
        OsRng.fill_bytes(&mut nonce);
        bytes += sealer.seal(BlobKind::Data, id, chunk, nonce)?.bytes.len();
    }
    Ok((bytes, start.elapsed().as_secs_f64()))
}

/// Words in random order.
fn text() -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "laptop", "hub", "desk", "pack", "index", "tree", "chunk", "set", "and", "the", "of", "a", "\n",
        "is", "sealed", "once",
    ];
    let mut text = Vec::with_capacity(SAMPLE_BYTES);
    while text.len() < SAMPLE_BYTES {
        let mut random = OsRng.next_u64();
        for _ in 0..16 {
            text.extend_from_slice(WORDS[(random & 15) as usize].as_bytes());
            text.push(b' ');
            random >>= 4;
        }
    }
    text
}
