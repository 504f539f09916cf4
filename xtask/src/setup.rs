//! Looks for the tools and the disk that building, testing and measuring need, and installs what is missing where it can.
//!
//! Debian only, as root only; anywhere else it says what a person has to do. It never touches the Rust toolchain: that
//! one is already here, or this would not run.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{Verdict, process, workspace::Workspace};

/// A tool and what to do without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tool {
    /// What it is called on the path.
    program: &'static str,
    /// What it is needed for.
    purpose: &'static str,
    /// Where it comes from.
    origin: Origin,
    /// Whether the gate needs it.
    need: Need,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Packages of Debian.
    Debian(&'static [&'static str]),
    /// A component of the Rust toolchain.
    Rustup(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Without it the gate fails.
    Gate,
    /// Without it some benchmarks lack a peer.
    Benches,
}

const TOOLS: [Tool; 4] = [
    Tool {
        program: "gcc",
        purpose: "links, compiles the bundled SQLite and zstd, and the fault shim of the crash tests",
        origin: Origin::Debian(&["gcc", "libc6-dev"]),
        need: Need::Gate,
    },
    Tool { program: "cargo-fmt", purpose: "formats", origin: Origin::Rustup("rustfmt"), need: Need::Gate },
    Tool { program: "cargo-clippy", purpose: "lints", origin: Origin::Rustup("clippy"), need: Need::Gate },
    Tool {
        program: "node",
        purpose: "runs the JavaScript peers of the benchmarks",
        origin: Origin::Debian(&["nodejs"]),
        need: Need::Benches,
    },
];

impl Tool {
    /// What a person types to get it.
    fn cure(&self) -> String {
        match self.origin {
            Origin::Debian(packages) => format!("apt-get install {}", packages.join(" ")),
            Origin::Rustup(component) => format!("rustup component add {component}"),
        }
    }
}

/// What the gate cannot do without and does not find: one line each, with its cure.
pub fn missing_for_gate() -> Vec<String> {
    let missing = missing(process::on_path);
    let needed = missing.iter().filter(|tool| tool.need == Need::Gate);
    needed.map(|tool| format!("{} is missing ({}): {}", tool.program, tool.purpose, tool.cure())).collect()
}

/// What a gate that begins with nothing leaves on the disk, in MiB: 7,700 were measured, and 6,300 more of what makes the next
/// build of an edited crate quick.
const DISK_MIB: u64 = 14_000;

/// Says so where the disk may not hold what the gate builds: a compiler that finds it full says so late, and over and over.
pub fn disk_too_small(root: &Path) -> Option<String> {
    let target = Workspace::load(root).ok()?.target;
    let free = free_mib(if target.exists() { &target } else { root })?;
    let built = du_mib(&target).unwrap_or(0);
    (free + built < DISK_MIB).then(|| {
        format!(
            "the disk has {free} MiB left, and {built} are built; a gate from nothing takes up to {DISK_MIB}"
        )
    })
}

/// What is free where this folder is.
fn free_mib(folder: &Path) -> Option<u64> {
    let output = Command::new("df").args(["-Pm", "."]).current_dir(folder).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

/// What this folder takes.
fn du_mib(folder: &Path) -> Option<u64> {
    let output = Command::new("du").arg("-sm").arg(folder).output().ok()?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().next()?.parse().ok()
}

/// Looks, installs what it can, and says what it did. Bad if the gate's tools are not all there in the end.
pub fn run() -> Result<Verdict> {
    let before = missing(process::on_path);
    for tool in TOOLS.iter().filter(|tool| !before.contains(tool)) {
        println!("{}: found", tool.program);
    }
    let packages = debian_packages(&before);
    if packages.is_empty() {
        println!("nothing to install from Debian");
    } else if !process::on_path("apt-get") {
        println!("not a Debian system: install by hand what stands for {}", packages.join(" "));
    } else if !is_root() {
        println!("not root; as root run: apt-get install {}", packages.join(" "));
    } else {
        install(&packages)?;
    }
    let after = missing(process::on_path);
    for tool in before.iter().filter(|tool| !after.contains(tool)) {
        println!("{}: installed", tool.program);
    }
    for tool in &after {
        println!("{}: MISSING ({}): {}", tool.program, tool.purpose, tool.cure());
    }
    Ok(Verdict::good_if(!after.iter().any(|tool| tool.need == Need::Gate)))
}

fn missing(found: impl Fn(&str) -> bool) -> Vec<Tool> {
    TOOLS.into_iter().filter(|tool| !found(tool.program)).collect()
}

fn debian_packages(missing: &[Tool]) -> Vec<&'static str> {
    let packages = |tool: &Tool| match tool.origin {
        Origin::Debian(packages) => packages,
        Origin::Rustup(_) => &[],
    };
    missing.iter().flat_map(packages).copied().collect()
}

/// A failing update is no end: the lists that are there may do.
fn install(packages: &[&str]) -> Result<()> {
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(words);
        println!("running {}", process::shown(&command));
        process::run(&mut command)
    };
    if !apt(&["update", "--quiet"])?.success() {
        println!("apt-get update failed; going on with the package lists there are");
    }
    let mut words = vec!["install", "--quiet", "--yes", "--no-install-recommends"];
    words.extend(packages);
    if !apt(&words)?.success() {
        println!("apt-get install failed");
    }
    Ok(())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_found_is_installed_and_only_what_debian_has() {
        assert_eq!(debian_packages(&missing(|_| true)), Vec::<&str>::new());
        assert_eq!(debian_packages(&missing(|program| program != "gcc")), ["gcc", "libc6-dev"]);
        assert_eq!(debian_packages(&missing(|program| program != "cargo-fmt")), Vec::<&str>::new());
        assert_eq!(debian_packages(&missing(|_| false)), ["gcc", "libc6-dev", "nodejs"]);
    }

    #[test]
    fn what_is_free_and_what_is_built_are_numbers() {
        let scratch = crate::scratch::Scratch::new();
        assert!(free_mib(scratch.root()).is_some_and(|free| free > 0));
        std::fs::write(scratch.root().join("built"), vec![1; 3 << 20]).expect("there is room");
        assert!(du_mib(scratch.root()).is_some_and(|built| (3..100).contains(&built)));
        assert_eq!((free_mib(&scratch.root().join("nowhere")), du_mib(Path::new("/nowhere"))), (None, None));
    }

    #[test]
    fn a_cure_is_a_command_to_type() {
        let cures: Vec<String> = missing(|_| false).iter().map(Tool::cure).collect();
        assert_eq!(
            cures,
            [
                "apt-get install gcc libc6-dev",
                "rustup component add rustfmt",
                "rustup component add clippy",
                "apt-get install nodejs",
            ]
        );
    }
}
