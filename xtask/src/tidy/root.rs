//! The root stays bare: a door, a map and a light. No plans, logs or patches.

use super::finding::Finding;

/// The files a visitor finds in the root.
const FILES: [&str; 14] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "Cargo.toml",
    "Cargo.lock",
    "rustfmt.toml",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    ".gitignore",
    ".gitattributes",
];

/// The folders a visitor finds in the root.
const FOLDERS: [&str; 11] = [
    ".cargo",
    ".ci",
    "apps",
    "benches",
    "console",
    "crates",
    "docs",
    "examples",
    "stores",
    "transports",
    "xtask",
];

/// Every file or folder in the root that is not one of these.
pub fn check(paths: &[String]) -> Vec<Finding> {
    let mut strangers: Vec<&str> = Vec::new();
    for path in paths {
        let (entry, known) = match path.split_once('/') {
            Some((folder, _)) => (folder, FOLDERS.contains(&folder)),
            None => (path.as_str(), FILES.contains(&path.as_str())),
        };
        if !known && !strangers.contains(&entry) {
            strangers.push(entry);
        }
    }
    let cure =
        "put it where it belongs, or name it in xtask/src/tidy/root.rs if a visitor should meet it first";
    strangers.into_iter().map(|entry| Finding::of(entry, "does not belong in the root", cure)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_in_the_root_are_found_once_each() {
        let paths =
            ["README.md", "crates/a/notes.txt", "notes.txt", "tmp/a", "tmp/b", "docs"].map(str::to_owned);
        let found: Vec<String> = check(&paths).into_iter().map(|finding| finding.file).collect();
        assert_eq!(found, ["notes.txt", "tmp", "docs"]);
    }
}
