//! The files the rules look at, and which of their lines are test code.
//!
//! In a repository these are the files git knows or would take in; in an unpacked archive, or where git is missing, all
//! files but the built ones.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// Folders that are never part of the sources.
const BUILT: [&str; 3] = ["target", ".git", "node_modules"];

/// A text file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, relative to the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// A source from its path and text.
    #[cfg(test)]
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether this is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Its lines, numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The number of the first line that is test code, if any is: 1 in a file of tests, else the line of an inline
    /// `#[cfg(test)] mod … {`, which by the order of a file is the last thing in it.
    pub fn tests_begin(&self) -> Option<usize> {
        let mut folders = self.path.rsplit('/');
        let name = folders.next().unwrap_or_default();
        if name == "tests.rs" || folders.any(|folder| folder == "tests") {
            return Some(1);
        }
        let mut after_attribute = false;
        for (number, line) in self.lines() {
            let line = line.trim();
            if after_attribute && line.starts_with("mod ") && line.ends_with('{') {
                return Some(number);
            }
            after_attribute = line == "#[cfg(test)]" || (after_attribute && line.starts_with("#["));
        }
        None
    }
}

/// The paths of all sources below `root`, sorted.
pub fn paths(root: &Path) -> Result<Vec<String>> {
    let mut paths = match from_git(root) {
        Some(paths) => paths,
        None => {
            let mut found = Vec::new();
            walk(root, "", &mut found)?;
            found
        }
    };
    // A path may be known twice in the middle of a merge, or be gone from the disk but not yet from the index.
    paths.sort();
    paths.dedup();
    paths.retain(|path| fs::symlink_metadata(root.join(path)).is_ok_and(|entry| entry.is_file()));
    Ok(paths)
}

/// The sources that are text. A file with a zero byte is not.
pub fn read(root: &Path, paths: &[String]) -> Result<Vec<Source>> {
    let mut sources = Vec::with_capacity(paths.len());
    for path in paths {
        let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        if !bytes.contains(&0) {
            sources.push(Source { path: path.clone(), text: String::from_utf8_lossy(&bytes).into_owned() });
        }
    }
    Ok(sources)
}

/// What git knows or would take in; nothing if there is no git or `root` is not the top of a repository.
fn from_git(root: &Path) -> Option<Vec<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()?;
    let names = String::from_utf8(output.stdout).ok()?;
    let paths = names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    output.status.success().then_some(paths)
}

fn walk(root: &Path, folder: &str, found: &mut Vec<String>) -> Result<()> {
    let here: PathBuf = root.join(folder);
    for entry in fs::read_dir(&here).with_context(|| format!("cannot list {}", here.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            if !BUILT.contains(&name.as_str()) {
                walk(root, &path, found)?;
            }
        } else {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_code_begins_at_the_top_of_a_test_file_and_at_the_inline_module_of_another() {
        assert_eq!(Source::new("crates/a/tests/order.rs", "").tests_begin(), Some(1));
        assert_eq!(Source::new("crates/a/src/log/tests.rs", "").tests_begin(), Some(1));
        assert_eq!(Source::new("crates/a/src/lib.rs", "fn a() {}\n").tests_begin(), None);
        let inline = "fn a() {}\n\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n";
        assert_eq!(Source::new("crates/a/src/lib.rs", inline).tests_begin(), Some(5));
        let elsewhere = "#[cfg(test)]\nmod tests;\nfn a() {}\nmod b {\n";
        assert_eq!(Source::new("crates/a/src/lib.rs", elsewhere).tests_begin(), None);
    }

    #[test]
    fn without_a_repository_everything_but_built_folders_is_a_source() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for path in ["a.txt", "b/c.rs", "target/d.rs", "b/target/e.rs", "node_modules/f.js"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("has a parent")).expect("made");
            fs::write(path, "x").expect("written");
        }
        fs::write(root.path().join("b/binary"), b"x\0y").expect("written");
        let paths = paths(root.path()).expect("listed");
        assert_eq!(paths, ["a.txt", "b/binary", "b/c.rs"]);
        let sources = read(root.path(), &paths).expect("read");
        let text: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
        assert_eq!(text, ["a.txt", "b/c.rs"]);
    }
}
