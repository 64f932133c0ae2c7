//! Man pages and shell completions, made of the command lines of the programs and committed beside this crate.
//!
//! Place: a test beside each program's arguments calls [`check`]. To write the files anew:
//! `WRITE_PAGES=1 cargo test --workspace --bins pages_are_up_to_date`.

use std::path::Path;
use std::{env, fs, io};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Columns of what a man page shows as it stands.
const COLUMNS: usize = 76;

/// Compares `docs/man` and `docs/completions` with what they should be for `program`, or, with `WRITE_PAGES` in the
/// environment, writes them.
///
/// # Panics
/// Where they differ: this is for tests.
pub fn check(program: &Command) {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let name = program.get_name();
    let mut files = vec![(
        format!("man/{name}.1"),
        man(program).expect("memory takes everything"),
    )];
    for (shell, file) in [
        (Shell::Bash, format!("{name}.bash")),
        (Shell::Zsh, format!("_{name}")),
        (Shell::Fish, format!("{name}.fish")),
    ] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut program.clone(), name, &mut script);
        files.push((format!("completions/{file}"), script));
    }
    for (file, content) in files {
        let path = docs.join(&file);
        if env::var_os("WRITE_PAGES").is_some() {
            fs::write(&path, &content).expect("docs/ can be written");
        }
        assert!(
            fs::read(&path).is_ok_and(|committed| committed == content),
            "docs/{file} is out of date: WRITE_PAGES=1 cargo test --workspace --bins pages_are_up_to_date"
        );
    }
}

/// One page for the program and all its commands, the latter as `--help` shows them.
fn man(program: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let head = Man::new(program.clone());
    head.render_title(&mut page)?;
    head.render_name_section(&mut page)?;
    head.render_synopsis_section(&mut page)?;
    head.render_description_section(&mut page)?;
    head.render_options_section(&mut page)?;
    let mut sections = Roff::new();
    commands(program, program.get_name(), &mut sections);
    if let Some(more) = program.get_after_help() {
        verbatim(&mut sections, "NOTES", &more.to_string());
    }
    sections.to_writer(&mut page)?;
    Ok(page)
}

fn commands(of: &Command, path: &str, sections: &mut Roff) {
    for command in of.get_subcommands().filter(|command| !command.is_hide_set()) {
        let path = format!("{path} {}", command.get_name());
        let mut shown = command.clone().bin_name(&path).disable_help_flag(true);
        shown = shown.disable_help_subcommand(true).term_width(COLUMNS);
        verbatim(sections, &path, &shown.render_long_help().to_string());
        commands(command, &path, sections);
    }
}

/// A section whose lines stay as they are.
fn verbatim(page: &mut Roff, title: &str, text: &str) {
    page.control("SH", [title]).control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}
