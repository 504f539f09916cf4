//! The steps against a real cargo, in small workspaces.

use super::*;
use crate::scratch::Scratch;

/// One test that passes, one that skips itself, one that fails, one switched off, one in the documentation.
const TESTED: &str = r#"
//! Tested.
/// ```
/// assert_eq!(tested::two(), 2);
/// ```
pub fn two() -> u32 { 2 }
#[cfg(test)]
mod tests {
    #[test] fn passes() {}
    #[test] fn fails() { assert_eq!(super::two(), THREE) }
    #[test] OFF fn off() {}
    #[test] fn skips() {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).open(std::env::var("TIDINGS_SKIPS").unwrap()).unwrap();
        writeln!(file, "the moon — it is day").unwrap();
    }
}
"#;

fn tested(three: &str, off: &str) -> Scratch {
    let scratch = Scratch::new();
    let code = TESTED.replace("THREE", three).replace("OFF", off);
    scratch.package("tested", "", "src/lib.rs", &code);
    scratch
}

#[test]
fn tests_of_all_kinds_are_counted_as_what_they_are() {
    let scratch = tested("3", concat!("#[ig", "nore = \"slow\"]"));
    let report = test(scratch.root()).expect("cargo runs");
    assert_eq!(report.passed, 2, "one test and one documented example: {report:?}");
    assert_eq!(report.failures, ["tests::fails"]);
    let skips: Vec<_> = report.skips.iter().map(|skip| (skip.what.as_str(), skip.why.as_str())).collect();
    assert_eq!(skips, [("tests::off", "slow"), ("the moon", "it is day")]);
}

#[test]
fn code_that_does_not_compile_is_a_failure_though_no_test_failed() {
    let scratch = tested("three", "");
    let report = test(scratch.root()).expect("cargo runs");
    assert_eq!(report.failures.len(), 1, "{report:?}");
}

#[test]
fn unformatted_code_fails_the_step_and_formatted_code_passes_it() {
    let scratch = Scratch::new();
    scratch.package("formed", "", "src/lib.rs", "//! Formed.\n");
    assert_eq!(fmt(scratch.root()).expect("cargo runs"), Report::passed(1));
    scratch.package("formed", "", "src/lib.rs", "//! Formed.\nfn  a ( ) { }\n");
    assert_eq!(fmt(scratch.root()).expect("cargo runs").failures.len(), 1);
}

#[test]
fn a_warning_fails_the_lints_and_a_broken_link_the_documentation() {
    let scratch = Scratch::new();
    scratch.package("linted", "", "src/lib.rs", "//! Linted.\n");
    assert_eq!(clippy(scratch.root()).expect("cargo runs"), Report::passed(1));
    assert_eq!(doc(scratch.root()).expect("cargo runs"), Report::passed(1));
    scratch.package("linted", "", "src/lib.rs", "//! See [`Nowhere`].\nfn unused() {}\n");
    assert_eq!(clippy(scratch.root()).expect("cargo runs").failures.len(), 1);
    assert_eq!(doc(scratch.root()).expect("cargo runs").failures.len(), 1);
}

/// A binary that answers like the demo, with what it was asked for.
const DEMO: &str = r##"
    fn main() {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let balanced = !words.contains(&"--crash".to_owned());
        assert!(words[0] == "demo" && words.contains(&"--store".to_owned()));
        println!("{{\"orders\":{},\"outcomes\":{{}},\"balanced\":{balanced},\"events_per_second\":1.5}}", words[words.len() - 4]);
    }
"##;

#[test]
fn the_demo_is_built_asked_and_judged_by_its_last_line() {
    let scratch = Scratch::new();
    scratch.package(
        "tidings-cli",
        "\n[[bin]]\nname = \"tidings\"\npath = \"src/main.rs\"\n",
        "src/main.rs",
        DEMO,
    );
    assert_eq!(demo::plain(scratch.root()).expect("balanced"), Report::passed(1));
    let error = demo::crash(scratch.root()).expect_err("this one loses something when it is killed");
    assert!(error.to_string().contains("not balanced"), "{error}");
}
