//! The rules of the house, as checks over text.
//!
//! What it is: each rule is a pure function from what it looks at (a source, the table, the members) to findings, in a
//! file of its own, with its tests. What it is not: a linter of Rust; that is clippy's work. Called by `cargo xtask
//! tidy` and by the gate. Start reading at [`check`].

mod finding;
mod imports;
mod leftovers;
mod length;
mod links;
mod machine;
mod reasons;
mod root;
mod sleeps;
mod source;
mod table;

use std::path::Path;

use anyhow::Result;

use self::{finding::Finding, source::Source, table::Table};
use crate::{Verdict, bench, workspace::Workspace};

/// Checks the repository in `root` and prints what was found.
pub fn run(root: &Path) -> Result<Verdict> {
    let findings = check(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: every rule holds"),
        1 => println!("tidy: 1 finding"),
        several => println!("tidy: {several} findings"),
    }
    Ok(Verdict::good_if(findings.is_empty()))
}

/// Everything that breaks a rule of the house.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let workspace = Workspace::load(root)?;
    let paths = source::paths(root)?;
    let sources = source::read(root, &paths)?;
    let text_of =
        |path: &str| sources.iter().find(|source| source.path == path).map(|source| source.text.as_str());

    let mut findings = match text_of(table::FILE).map(Table::parse) {
        Some(Ok(table)) => imports::compare(&table, &workspace.members),
        Some(Err(faults)) => faults,
        None => vec![Finding::of(table::FILE, "is missing", "write the map, with the table of imports")],
    };
    let record = text_of(reasons::FILE).unwrap_or_default();
    let offered = text_of("Cargo.toml").unwrap_or_default();
    findings.extend(reasons::check(record, offered, &workspace.members));
    findings.extend(root::check(&paths));
    for source in &sources {
        findings.extend(check_text(source));
        findings.extend(links::check(source, |path| root.join(path).exists()));
    }
    if !bench::report_is_current(root)? {
        let what = "differs from what benches/results says";
        findings.push(Finding::of(
            bench::REPORT,
            what,
            "run `cargo xtask bench --report` and commit the page",
        ));
    }
    Ok(findings)
}

/// The rules that look at one file by itself.
fn check_text(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::from_iter(length::check(source));
    findings.extend(leftovers::check(source));
    findings.extend(sleeps::check(source));
    findings.extend(machine::check(source));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_about_one_file_is_asked() {
        let mark = concat!("FIX", "ME");
        let folder = concat!("/ho", "me/me");
        let sleep = format!("std::thread::{}(a_while);", "sleep");
        let text = format!("// {mark}\n// {folder}\n{sleep}\n{}", "//\n".repeat(600));
        let found = check_text(&Source::new("crates/a/tests/b.rs", &text));
        let lines: Vec<Option<usize>> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [Some(601), Some(1), Some(3), Some(2)], "{found:#?}");
    }
}
