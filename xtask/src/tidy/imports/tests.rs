//! A planted wrong edge is found: in values, in the repository's own table and metadata, and in a workspace on disk.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::*;
use crate::{scratch::Scratch, tidy, workspace::Workspace};

const TABLE: &str = "\
| crate | folder | level | may import | reason |
|---|---|---|---|---|
| low | crates/low | 0 | nothing | words |
| high | crates/high | 1 | low | needs the words |
";

fn table() -> Table {
    Table::parse(TABLE).expect("a sound table")
}

fn member(name: &str, imports: Vec<Import>) -> Member {
    let folder = format!("crates/{name}");
    Member { name: name.to_owned(), folder, manifest: String::new(), imports, binaries: vec![] }
}

fn import(name: &str, need: Need, origin: Origin) -> Import {
    Import { name: name.to_owned(), need, origin }
}

fn findings(low_imports: Vec<Import>) -> Vec<Finding> {
    let high = member("high", vec![import("low", Need::Normal, Origin::Path)]);
    compare(&table(), &[member("low", low_imports), high])
}

#[test]
fn normal_and_build_edges_outside_the_table_are_found() {
    assert_eq!(findings(vec![]), []);
    for need in [Need::Normal, Need::Build] {
        let found = findings(vec![import("high", need, Origin::Path)]);
        assert_eq!(found.len(), 1, "{need:?}");
        assert!(found[0].what.starts_with("`low` imports `high`, and ARCHITECTURE.md:3"), "{}", found[0]);
    }
}

#[test]
fn tests_may_look_upward_and_a_published_namesake_is_no_edge() {
    assert_eq!(findings(vec![import("high", Need::Dev, Origin::Path)]), []);
    assert_eq!(findings(vec![import("high", Need::Normal, Origin::Elsewhere)]), []);
}

#[test]
fn a_crate_without_a_row_a_row_without_a_crate_and_a_moved_crate_are_found() {
    let stranger = member("stranger", vec![]);
    let mut high = member("high", vec![]);
    high.folder = "crates/tall".to_owned();
    let found = compare(&table(), &[stranger, high]);
    let whats: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        whats,
        [
            "the table names `low`, and there is no such crate",
            "`stranger` is not in the table of imports in ARCHITECTURE.md",
            "`high` lies in crates/tall, the table says crates/high",
        ]
    );
    assert_eq!((found[0].line, found[1].file.as_str()), (Some(3), "crates/stranger/Cargo.toml"));
}

#[test]
fn the_line_of_an_edge_is_that_of_the_dependency_and_not_of_its_use_in_tests() {
    let manifest = "[package]\nname = \"low\"\n[dev-dependencies]\nhigh.workspace = true\n[dependencies]\nhigh.workspace = true\n";
    assert_eq!(line_of("high", manifest), Some(6));
    assert_eq!(line_of("high", "[dependencies]\nhigher = \"1\"\nhigh = { path = \"x\" }\n"), Some(3));
    assert_eq!(line_of("high", "[target.'cfg(unix)'.dependencies.high]\npath = \"x\"\n"), Some(1));
    assert_eq!(line_of("high", "[dependencies]\n"), None);
}

/// The repository's own table and cargo's own answer, with one edge planted between them.
#[test]
fn an_edge_planted_in_the_metadata_of_this_repository_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    let text = fs::read_to_string(root.join(FILE)).expect("the map is there");
    let table = Table::parse(&text).expect("the map's table is sound");
    let output =
        crate::process::cargo(root, &["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .output()
            .expect("cargo runs");
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");

    let edge = |finding: &Finding| finding.what.starts_with("`tidings-core` imports `tidings-bus`");
    let before = Workspace::from_metadata(&metadata.to_string()).expect("understood");
    assert!(!compare(&table, &before.members).iter().any(edge));

    let packages = metadata["packages"].as_array_mut().expect("a list of packages");
    let core =
        packages.iter_mut().find(|package| package["name"] == "tidings-core").expect("core is a member");
    let planted = json!({ "name": "tidings-bus", "kind": null, "path": "anywhere" });
    core["dependencies"].as_array_mut().expect("a list of dependencies").push(planted);
    let after = Workspace::from_metadata(&metadata.to_string()).expect("understood");
    assert_eq!(compare(&table, &after.members).iter().filter(|finding| edge(finding)).count(), 1);
}

#[test]
fn a_wrong_edge_in_a_workspace_on_disk_is_found_with_its_file_and_line() {
    let scratch = Scratch::new();
    scratch.write(FILE, TABLE);
    scratch.package("low", "\n[dependencies]\nhigh = { path = \"../high\" }\n", "src/lib.rs", "//! Low.\n");
    scratch.package("high", "", "src/lib.rs", "//! High.\n");
    let found = tidy::check(scratch.root()).expect("the checks run");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].file.as_str(), found[0].line), ("crates/low/Cargo.toml", Some(7)));

    // The way the table allows is not complained about.
    scratch.package("low", "", "src/lib.rs", "//! Low.\n");
    scratch.package("high", "\n[dependencies]\nlow = { path = \"../low\" }\n", "src/lib.rs", "//! High.\n");
    assert_eq!(tidy::check(scratch.root()).expect("the checks run"), []);
}
