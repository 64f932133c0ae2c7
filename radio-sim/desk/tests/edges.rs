//! Exit codes, odd places, a full disk, an interruption, and what must never be seen.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, and so are their helpers"
)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use berth_tests::corpus;
use support::{DONE, FAILED, Place, SOME_NOT_READ, Told, USAGE, desk, make_writable, number};

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// Does any file below `root` hold these bytes, or a name with them?
fn holds(root: &Path, needle: &[u8]) -> bool {
    let found = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    fs::read_dir(root).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        found(path.file_name().unwrap().as_bytes())
            || if path.is_symlink() {
                found(fs::read_link(&path).unwrap().as_os_str().as_bytes())
            } else if path.is_dir() {
                holds(&path, needle)
            } else {
                found(&fs::read(&path).unwrap())
            }
    })
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &[][..],
        &["--no-such-option", "."],
        &[".", "--profile", "no-such-profile"],
        &[".", "--leave-at", "101"],
        &[".", "--seed", "x"],
    ] {
        let output = desk().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_end_with_0_and_help_shows_examples() {
    let help = desk().arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(DONE));
    assert!(String::from_utf8(help.stdout).unwrap().contains("Examples:"));
    assert_eq!(
        desk().arg("--version").output().unwrap().status.code(),
        Some(DONE)
    );
}

#[test]
fn a_folder_that_is_not_there_or_is_a_file_ends_with_1_and_one_line() {
    let place = Place::new();
    for make in [false, true] {
        if make {
            fs::write(&place.folder, b"a file").unwrap();
        }
        let told = place.run(&[]);
        assert_eq!(told.code, FAILED, "{told}");
        assert_eq!(told.errors.lines().count(), 1, "{told}");
        assert!(!place.work.exists(), "nothing is made before FOLDER is looked at");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_end_is_3() {
    let place = Place::new();
    corpus::small_files(&place.folder, 1, 20).unwrap();
    let secret = place.folder.join("file-000004");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = place.command(&[]);
    if is_root() {
        // As root everything can be read: run it as nobody, and let nobody get there.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir(&place.work).unwrap();
        fs::set_permissions(&place.work, fs::Permissions::from_mode(0o777)).unwrap();
        // What cargo built may lie where nobody cannot look.
        let program = place.path().join("desk");
        fs::copy(env!("CARGO_BIN_EXE_desk"), &program).unwrap();
        let arguments: Vec<_> = command.get_args().map(OsStr::to_owned).collect();
        command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null());
    }
    let told = Told::of(command.output().unwrap());
    assert_eq!(told.code, SOME_NOT_READ, "{told}");
    let visit = told.one("visit");
    assert_eq!(number(visit, "not_read_count"), 1, "{told}");
    assert_eq!(visit["not_read"][0]["path"], secret.to_str().unwrap(), "{told}");
    assert_eq!(number(told.one("restored"), "files"), 19, "{told}");
}

#[test]
fn work_inside_of_the_folder_is_not_backed_up() {
    let mut place = Place::new();
    corpus::small_files(&place.folder, 2, 20).unwrap();
    place.work = place.folder.join("deep/work");
    place.tell(&[]);
    let second = place.tell(&[]);
    assert_eq!(number(second.one("visit"), "files"), 20, "{second}");
}

#[test]
fn a_folder_that_is_the_work_folder_or_lies_in_it_is_refused() {
    let mut place = Place::new();
    corpus::small_files(&place.folder, 2, 20).unwrap();
    let inside = place.folder.join("inside");
    fs::create_dir(&inside).unwrap();
    place.work = place.folder.clone();
    for folder in [place.work.clone(), inside] {
        place.folder = folder;
        let told = place.run(&[]);
        assert_eq!(told.code, FAILED, "{told}");
        assert!(told.errors.contains("take another --work"), "{told}");
        assert_eq!(told.errors.lines().count(), 1, "{told}");
        assert!(!place.work.join("upstream").exists(), "{told}");
    }
}

#[test]
fn work_and_folder_may_have_odd_names_and_the_commands_can_be_pasted() {
    let mut place = Place::new();
    for name in ["with spaces", "it's \"quoted\" $(x)", "-rf", "line\nbreak"] {
        place.folder = place.path().join(name).join("folder");
        place.work = place.path().join(name).join("work");
        corpus::small_files(&place.folder, 3, 5).unwrap();
        place.tell(&[]);
        let plain = desk()
            .arg(&place.folder)
            .arg("--work")
            .arg(&place.work)
            .args(["--profile", "perfect"])
            .output()
            .unwrap();
        let text = String::from_utf8(plain.stdout).unwrap();
        let at = text.find("  restic -r").unwrap_or_else(|| panic!("{text}"));
        let script = format!(
            "restic() {{ test -d \"$2\" && test -f \"$4\" || exit 9; }}\n{}",
            &text[at..]
        );
        let shell = Command::new("sh").arg("-c").arg(&script).status().unwrap();
        assert!(shell.success(), "{script}");
    }
}

#[test]
fn a_symlink_as_folder_is_followed_and_a_relative_path_will_do() {
    let place = Place::new();
    corpus::small_files(&place.folder, 4, 5).unwrap();
    symlink(&place.folder, place.path().join("link")).unwrap();
    let output = desk()
        .current_dir(place.path())
        .args(["link", "--work", "work", "--profile", "perfect", "--json"])
        .output()
        .unwrap();
    let told = Told::of(output);
    assert_eq!(told.code, DONE, "{told}");
    assert_eq!(number(told.one("restored"), "files"), 5);
}

#[test]
fn names_that_are_not_utf_8_on_the_command_line_work() {
    let mut place = Place::new();
    place.folder = place.path().join(OsStr::from_bytes(b"\xff\xfe"));
    corpus::small_files(&place.folder, 4, 5).unwrap();
    place.tell(&[]);
}

#[test]
fn an_interrupted_run_does_no_harm_and_the_next_one_goes_on() {
    let place = Place::new();
    corpus::incompressible(&place.folder, 5, 30_000_000).unwrap();
    // On a poor link it is certain to be in the middle when the first progress is told.
    let mut command = place.command(&[]);
    command.args(["--profile", "wfd-poor"]);
    let arguments: Vec<_> = command.get_args().map(OsStr::to_owned).collect();
    let mut arguments: Vec<_> = arguments
        .iter()
        .map(|argument| argument.to_str().unwrap())
        .collect();
    let at = arguments
        .iter()
        .position(|argument| *argument == "perfect")
        .unwrap();
    arguments.drain(at - 1..=at);
    let mut child = desk().args(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut has_begun = false;
    for line in lines.map_while(Result::ok) {
        if line.contains("\"progress\"") && !has_begun {
            has_begun = true;
            let pid = child.id().to_string();
            assert!(
                Command::new("kill")
                    .args(["-INT", &pid])
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
    let status = child.wait().unwrap();
    assert!(has_begun && !status.success(), "{status}");
    place.tell(&[]);
    place.tell(&[]);
}

#[test]
fn a_full_disk_ends_with_1_and_what_to_do_and_room_brings_it_on() {
    let place = Place::new();
    corpus::incompressible(&place.folder, 6, 20_000_000).unwrap();
    fs::create_dir(&place.work).unwrap();
    let mount = |arguments: &[&str]| {
        let status = Command::new("mount")
            .args(arguments)
            .arg(&place.work)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=10m", "tmpfs"]) {
        println!("not run: no right to mount a small disk");
        return;
    }
    let told = place.run(&[]);
    let grown = mount(&["-o", "remount,size=400m"]);
    let again = place.run(&[]);
    let gone = Command::new("umount")
        .arg("-l")
        .arg(&place.work)
        .status()
        .unwrap();
    assert!(grown && gone.success());
    assert_eq!(told.code, FAILED, "{told}");
    assert_eq!(told.errors.lines().count(), 1, "{told}");
    assert_eq!(again.code, DONE, "{again}");
}

#[test]
fn the_hub_holds_no_name_and_no_content_in_the_clear() {
    let place = Place::new();
    let (name, content) = (
        "a-name-like-no-other",
        "a sentence that stands nowhere else ".repeat(40),
    );
    fs::create_dir_all(place.folder.join("folder-of-its-own-kind")).unwrap();
    fs::write(place.folder.join(name), &content).unwrap();
    fs::write(place.folder.join("folder-of-its-own-kind/small"), "tiny treasure").unwrap();
    symlink("a-target-to-find", place.folder.join("link")).unwrap();
    place.tell(&["--leave-at", "50"]);
    for needle in [
        name,
        "a sentence that stands",
        "folder-of-its-own-kind",
        "tiny treasure",
        "a-target-to-find",
    ] {
        assert!(holds(&place.folder, needle.as_bytes()), "{needle:?}");
        for part in ["hub", "upstream"] {
            assert!(
                !holds(&place.work.join(part), needle.as_bytes()),
                "{needle:?} in {part}"
            );
        }
    }
}

#[test]
fn nothing_secret_is_said_and_the_recovery_key_is_for_its_owner_only() {
    let place = Place::new();
    corpus::small_files(&place.folder, 8, 5).unwrap();
    let told = place.tell(&[]);
    let key = place.work.join("recovery-key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(key).unwrap();
    assert!(
        !told.to_string().contains(key.trim()),
        "the recovery key was said"
    );
    for part in ["hub", "upstream"] {
        assert!(
            !holds(&place.work.join(part), key.trim().as_bytes()),
            "the recovery key is in {part}"
        );
    }
    for folder in ["laptop", "hub"] {
        let mode = fs::metadata(place.work.join(folder))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode & 0o077, 0, "{folder} can be read by others: {mode:o}");
    }
    make_writable(place.path());
}
