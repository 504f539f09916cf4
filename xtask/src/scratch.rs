//! Small workspaces on disk for tests that need a real cargo to answer.

use std::{fs, path::Path};

/// A workspace in a temporary folder, gone with the value. Members are all folders under `crates/`.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// A workspace without members.
    pub fn new() -> Self {
        let scratch = Self(tempfile::tempdir().expect("a temporary folder"));
        scratch.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n");
        scratch
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders on the way to it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    }

    /// Adds the crate `crates/NAME`; `manifest` goes on after its `[package]`.
    pub fn package(&self, name: &str, manifest: &str, file: &str, code: &str) {
        let head =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{manifest}");
        self.write(&format!("crates/{name}/Cargo.toml"), &head);
        self.write(&format!("crates/{name}/{file}"), code);
    }
}
