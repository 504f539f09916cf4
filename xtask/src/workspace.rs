//! The workspace as cargo sees it: its root, its members, who imports whom.
//!
//! Only `cargo metadata --no-deps` is asked, which reads manifests and needs neither a network nor a lock file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process;

/// The folder of the root manifest, found from the folder the task was started in.
pub fn root() -> Result<PathBuf> {
    let output = process::cargo(
        &std::env::current_dir()?,
        &["locate-project", "--workspace", "--message-format", "plain"],
    )
    .output()
    .context("cannot start cargo")?;
    ensure!(output.status.success(), "not inside the workspace: {}", String::from_utf8_lossy(&output.stderr));
    let manifest = PathBuf::from(String::from_utf8(output.stdout)?.trim_end());
    Ok(manifest.parent().context("a manifest lies in a folder")?.to_path_buf())
}

/// The members of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Where cargo puts what it builds.
    pub target: PathBuf,
    /// Its crates, in cargo's order.
    pub members: Vec<Member>,
}

/// One crate of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The package name.
    pub name: String,
    /// Its folder, relative to the root, with `/`.
    pub folder: String,
    /// The text of its manifest; empty where only metadata is known.
    pub manifest: String,
    /// Everything it depends on, members and others.
    pub imports: Vec<Import>,
    /// The names of its binaries.
    pub binaries: Vec<String>,
}

/// One dependency of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The package depended on, under its own name.
    pub name: String,
    /// What it is needed for.
    pub need: Need,
    /// Where it comes from.
    pub origin: Origin,
}

/// What a dependency is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// By the crate itself, optional or not.
    Normal,
    /// By its build script.
    Build,
    /// By its tests, examples and benchmarks.
    Dev,
}

/// Where a dependency comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A folder of this workspace.
    Path,
    /// A registry or repository.
    Elsewhere,
}

impl Workspace {
    /// Asks cargo about the workspace in `root` and reads the members' manifests.
    pub fn load(root: &Path) -> Result<Self> {
        let output = process::cargo(root, &["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .output()
            .context("cannot start cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        let mut workspace = Self::from_metadata(std::str::from_utf8(&output.stdout)?)?;
        for member in &mut workspace.members {
            let path = root.join(&member.folder).join("Cargo.toml");
            member.manifest =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        Ok(workspace)
    }

    /// Understands what `cargo metadata --format-version 1 --no-deps` prints.
    pub fn from_metadata(json: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(json).context("cannot understand cargo metadata")?;
        let members = metadata
            .packages
            .into_iter()
            .map(|package| package.into_member(&metadata.workspace_root))
            .collect::<Result<_>>()?;
        Ok(Self { target: metadata.target_directory, members })
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Package {
    fn into_member(self, root: &Path) -> Result<Member> {
        let folder = self
            .manifest_path
            .parent()
            .and_then(|folder| folder.strip_prefix(root).ok())
            .with_context(|| format!("{} is outside the workspace", self.manifest_path.display()))?;
        let imports = self.dependencies.into_iter().map(Dependency::into_import).collect();
        let is_binary = |target: &Target| target.kind.iter().any(|kind| kind == "bin");
        Ok(Member {
            name: self.name,
            folder: folder.to_string_lossy().replace('\\', "/"),
            manifest: String::new(),
            imports,
            binaries: self.targets.into_iter().filter(is_binary).map(|target| target.name).collect(),
        })
    }
}

impl Dependency {
    fn into_import(self) -> Import {
        let need = match self.kind.as_deref() {
            Some("dev") => Need::Dev,
            Some("build") => Need::Build,
            _ => Need::Normal,
        };
        let origin = if self.path.is_some() { Origin::Path } else { Origin::Elsewhere };
        Import { name: self.name, need, origin }
    }
}
