//! A dependency costs a sentence: every third-party crate that a member depends on is accounted for in the record of
//! dependencies, and every one accounted for is still depended on or offered by the workspace.

use std::collections::BTreeSet;

use super::finding::Finding;
use crate::workspace::{Member, Origin};

/// The record with one list item a crate, which begins with its name in backticks.
pub const FILE: &str = "docs/adr/0008-dependencies.md";

/// Everything without a sentence, and every sentence without a dependency. `offered` is the text of the root manifest.
pub fn check(record: &str, offered: &str, members: &[Member]) -> Vec<Finding> {
    let explained: Vec<(usize, &str)> = record
        .lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, line.strip_prefix("- `")?.split_once('`')?.0)))
        .collect();
    let used = members.iter().flat_map(|member| {
        member
            .imports
            .iter()
            .filter(|import| import.origin == Origin::Elsewhere)
            .map(|import| import.name.as_str())
    });
    let offered: BTreeSet<&str> = third_party(offered).collect();
    let needed: BTreeSet<&str> = used.chain(offered).collect();
    let mut findings = Vec::new();
    for name in needed.iter().filter(|name| !explained.iter().any(|(_, known)| known == *name)) {
        let cure =
            format!("add an item that begins with `{name}` and says what it saves and what it drags in");
        findings.push(Finding::of(FILE, format!("no sentence for the dependency `{name}`"), cure));
    }
    for (line, name) in explained.iter().filter(|(_, name)| !needed.contains(name)) {
        let what = format!("a sentence for `{name}`, which nothing depends on");
        findings.push(Finding::at(FILE, *line, what, "take the line out"));
    }
    findings
}

/// The names under `[workspace.dependencies]` that are not folders of the workspace.
fn third_party(manifest: &str) -> impl Iterator<Item = &str> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.contains("path ="))
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .filter(|name| !name.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Import, Need};

    const ROOT: &str = "[workspace]\n\n[workspace.dependencies]\nown = { path = \"own\" }\n# a remark = none\n\
                        bytes = \"1\"\n\n[profile.dev]\ndebug = 1\n";

    fn whats(record: &str, imports: &[(&str, Origin)]) -> Vec<String> {
        let imports = imports
            .iter()
            .map(|&(name, origin)| Import { name: name.to_owned(), need: Need::Dev, origin })
            .collect();
        let member = Member {
            name: "a".to_owned(),
            folder: "a".to_owned(),
            manifest: String::new(),
            imports,
            binaries: Vec::new(),
        };
        check(record, ROOT, &[member]).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn what_is_offered_or_used_needs_a_sentence_and_a_folder_of_ours_does_not() {
        let imports = [("own", Origin::Path), ("serde", Origin::Elsewhere)];
        assert_eq!(
            whats("# Dependencies\n", &imports),
            ["no sentence for the dependency `bytes`", "no sentence for the dependency `serde`"]
        );
        assert_eq!(whats("- `bytes`: cheap slices.\n- `serde`: data.\n", &imports), Vec::<String>::new());
    }

    #[test]
    fn a_sentence_that_outlived_its_dependency_is_found_on_its_line() {
        let record = "# D\n- `bytes`: cheap slices.\n- `left-pad`: spaces.\n";
        assert_eq!(whats(record, &[]), ["a sentence for `left-pad`, which nothing depends on"]);
    }
}
