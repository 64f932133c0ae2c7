//! A folder with one of everything.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use super::{below, random};

/// Names that programs stumble over. A name has at most 255 bytes on Linux.
const NAMES: [&[u8]; 20] = [
    b"caf\xe9 (latin-1)",
    b"\xff\xfe\x80",
    b"cut \xe2\x82",
    "caf\u{e9} composed".as_bytes(),
    "cafe\u{301} decomposed".as_bytes(),
    "日本語 🛳".as_bytes(),
    "zero\u{200b}width and bom\u{feff}".as_bytes(),
    b"line\nbreak\ttab\rreturn",
    b"\x01\x1b[31m\x7f",
    b"quote\"quote'quote`",
    b"back\\slash\\x41\\n",
    b" spaces at both ends ",
    b"-rf",
    b"--",
    b"...",
    b".hidden",
    b"a*b?c[d]{e}$(f)|g;h&i",
    b"a:b<c>d",
    b"%2e%2e%2f",
    b"~",
];

/// What the folder has, and what could not be made in this place.
#[derive(Debug, Default)]
pub struct OddFolder {
    /// Kinds of entries that need root or another file system, such as device nodes.
    pub left_out: Vec<String>,
    /// Sockets made. They are not backed up.
    pub sockets: u64,
}

/// Makes a folder with every kind of entry: files, folders, symlinks (dangling, looping, to themselves), hard links,
/// fifos, a socket, device nodes and foreign owners (as root), names that are not UTF-8, times before 1970 and with
/// nanoseconds, extended attributes, setuid bits, holes, read-only folders. `root` must not exist.
///
/// # Errors
/// Those of the disk. What only root can make is left out and named instead.
pub fn odd_folder(root: &Path, seed: u64) -> io::Result<OddFolder> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut made = OddFolder::default();
    fs::create_dir_all(root)?;
    names(root)?;
    contents(root, &mut rng)?;
    links(root)?;
    special_files(root, &mut made)?;
    permissions(root, &mut made)?;
    attributes(root, &mut made)?;
    times(root)?;
    Ok(made)
}

/// Adds to an existing folder what restic 0.14 itself loses, so that it can't be asked of a restore by it: the target of
/// a symlink that is not UTF-8, a time after 2262 (nanoseconds in 64 bits end there), and (as root) extended attributes
/// of symlinks.
///
/// # Errors
/// Those of the disk.
pub fn beyond_restic(root: &Path) -> io::Result<()> {
    let link = root.join("odd target");
    symlink(OsStr::from_bytes(b"not \xff UTF-8\n"), &link)?;
    fs::write(root.join("2400"), b"x")?;
    set_time(&root.join("2400"), 13_569_465_600, 42)?;
    if rustix::process::geteuid().is_root() {
        xattr::set(&link, "trusted.of_a_link", b"l")?;
    }
    Ok(())
}

fn names(root: &Path) -> io::Result<()> {
    let folder = root.join("names");
    fs::create_dir(&folder)?;
    for (number, name) in NAMES.iter().enumerate() {
        let path = folder.join(OsStr::from_bytes(name));
        if number % 3 == 0 {
            fs::create_dir(&path)?;
            fs::write(path.join(OsStr::from_bytes(name)), name)?;
        } else {
            fs::write(path, name)?;
        }
    }
    for length in [254, 255] {
        fs::write(folder.join("n".repeat(length)), b"long")?;
    }
    // Sorted by bytes, a folder `a` comes before the file `a.txt`; sorted as paths, after it.
    fs::create_dir(folder.join("a"))?;
    fs::write(folder.join("a.txt"), b"")?;
    fs::write(folder.join("a/b"), b"b")
}

fn contents(root: &Path, rng: &mut ChaCha8Rng) -> io::Result<()> {
    let folder = root.join("contents");
    fs::create_dir(&folder)?;
    File::create(folder.join("empty"))?;
    fs::write(folder.join("one byte"), b"\0")?;
    fs::create_dir(folder.join("empty folder"))?;
    fs::create_dir_all(folder.join("d/e/e/p/e/r"))?;
    let size = 3_000_000 + below(rng, 100_000);
    random(&mut File::create(folder.join("random"))?, rng, size)?;
    fs::copy(folder.join("random"), folder.join("the same"))?;
    fs::write(folder.join("zeros"), vec![0; 600_001])?;
    fs::write(
        folder.join("text"),
        "the same line, again and again\n".repeat(40_000),
    )?;

    let sparse = File::create(folder.join("sparse"))?;
    sparse.write_all_at(b"middle", 20 << 20)?;
    sparse.write_all_at(b"late", (40 << 20) + 5)?;
    sparse.set_len(48 << 20)?;
    File::create(folder.join("only a hole"))?.set_len(10 << 20)
}

fn links(root: &Path) -> io::Result<()> {
    let folder = root.join("links");
    fs::create_dir_all(folder.join("elsewhere"))?;
    symlink("nowhere/at all", folder.join("dangling"))?;
    symlink("itself", folder.join("itself"))?;
    symlink("loop b", folder.join("loop a"))?;
    symlink("loop a", folder.join("loop b"))?;
    symlink("..", folder.join("up"))?;
    symlink("/", folder.join("root"))?;
    symlink("elsewhere", folder.join("to a folder"))?;
    symlink("x".repeat(2000), folder.join("long target"))?;

    fs::write(folder.join("first"), b"one file, three names")?;
    fs::hard_link(folder.join("first"), folder.join("second"))?;
    fs::hard_link(folder.join("first"), folder.join("elsewhere/third"))?;
    File::create(folder.join("empty first"))?;
    fs::hard_link(folder.join("empty first"), folder.join("empty second"))?;
    // Another file with the same content is not a link.
    fs::write(folder.join("elsewhere/lookalike"), b"one file, three names")
}

fn special_files(root: &Path, made: &mut OddFolder) -> io::Result<()> {
    let folder = root.join("special");
    fs::create_dir(&folder)?;
    let mode = Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(CWD, folder.join("fifo"), FileType::Fifo, mode, 0)?;
    for (name, kind, device) in [
        ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        (
            "large numbers",
            FileType::CharacterDevice,
            rustix::fs::makedev(4000, 70_000),
        ),
        ("disk", FileType::BlockDevice, rustix::fs::makedev(8, 1)),
    ] {
        if let Err(error) = rustix::fs::mknodat(CWD, folder.join(name), kind, mode, device) {
            made.left_out.push(format!("device node {name}: {error}"));
        }
    }
    // A socket's path has at most 107 bytes: bound by a short one, then moved.
    let short = std::env::temp_dir().join(format!("berth-{}", std::process::id()));
    match UnixListener::bind(&short).and_then(|_| fs::rename(&short, folder.join("socket"))) {
        Ok(()) => made.sockets += 1,
        Err(error) => {
            let _ = fs::remove_file(&short);
            made.left_out.push(format!("socket: {error}"));
        }
    }
    Ok(())
}

fn permissions(root: &Path, made: &mut OddFolder) -> io::Result<()> {
    let folder = root.join("permissions");
    fs::create_dir(&folder)?;
    let is_root = rustix::process::geteuid().is_root();
    for mode in [
        0o400, 0o444, 0o600, 0o666, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o000,
    ] {
        if mode == 0 && !is_root {
            made.left_out
                .push("a file that nobody can read: needs root".to_owned());
            continue;
        }
        let path = folder.join(format!("file {mode:04o}"));
        fs::write(&path, b"x")?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    for mode in [0o500, 0o555, 0o700, 0o755, 0o1777, 0o2775] {
        let path = folder.join(format!("folder {mode:04o}"));
        fs::create_dir(&path)?;
        fs::write(path.join("in it"), b"y")?;
        fs::create_dir(path.join("below"))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    if !is_root {
        made.left_out.push("foreign owners: needs root".to_owned());
        return Ok(());
    }
    fs::write(folder.join("foreign"), b"z")?;
    chown(folder.join("foreign"), Some(1234), Some(5678))?;
    fs::write(folder.join("far away"), b"z")?;
    chown(folder.join("far away"), Some(2_147_483_653), Some(4_294_967_290))?;
    fs::set_permissions(folder.join("far away"), Permissions::from_mode(0o6755))?;
    symlink("far away", folder.join("foreign link"))?;
    lchown(folder.join("foreign link"), Some(1234), Some(5678))?;
    fs::create_dir(folder.join("foreign folder"))?;
    chown(folder.join("foreign folder"), Some(65_534), Some(65_534))
}

fn attributes(root: &Path, made: &mut OddFolder) -> io::Result<()> {
    let folder = root.join("attributes");
    fs::create_dir(&folder)?;
    let file = folder.join("file");
    fs::write(&file, b"x")?;
    let mut set = |path: &Path, name: &str, value: &[u8]| {
        if let Err(error) = xattr::set(path, name, value) {
            made.left_out.push(format!("attribute {name}: {error}"));
        }
    };
    set(&file, "user.text", "grüße".as_bytes());
    set(&file, "user.empty", b"");
    set(&file, "user.binary", &[0, 1, 2, 255]);
    set(&file, "user.large", &[7; 1500]);
    set(&folder, "user.folder", b"of a folder");
    set(&file, "trusted.of_root", b"r");
    let read_only = folder.join("read-only");
    fs::write(&read_only, b"x")?;
    set(&read_only, "user.kept", b"k");
    fs::set_permissions(&read_only, Permissions::from_mode(0o444))
}

/// Times of everything made so far, and a folder of odd ones. Last, because making entries changes their folder.
fn times(root: &Path) -> io::Result<()> {
    let folder = root.join("times");
    fs::create_dir(&folder)?;
    let odd: [(&str, i64, i64); 8] = [
        ("1969, last nanosecond", -1, 999_999_999),
        ("1922", -1_500_000_000, 123_456_789),
        ("1970", 0, 0),
        ("a nanosecond", 1_700_000_000, 1),
        ("almost a second", 1_700_000_000, 999_999_999),
        ("tenths", 1_700_000_000, 100_000_000),
        ("2038", 2_147_483_648, 5),
        ("2262", 9_214_646_400, 42),
    ];
    for (name, seconds, nanoseconds) in odd {
        fs::write(folder.join(name), name)?;
        set_time(&folder.join(name), seconds, nanoseconds)?;
    }
    symlink("1922", folder.join("link of 1955"))?;
    set_time(&folder.join("link of 1955"), -463_000_000, 987_654_321)?;
    fs::create_dir(folder.join("folder of 1950"))?;
    fs::write(folder.join("folder of 1950/inside"), b"x")?;
    set_time(&folder.join("folder of 1950"), -631_152_000, 5)?;
    set_time(&root.join("links/first"), 1_000_000_000, 333_333_333)?;
    set_time(&root.join("special/fifo"), 1_000_000_001, 444_444_444)?;
    set_time(&folder, 1_234_567_890, 123_456_789)?;
    set_time(root, 1_234_567_891, 987_654_321)
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}
