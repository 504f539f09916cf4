//! The machine that figures were taken on. Without it no figure means anything.

use std::{fs, process::Command, thread};

use serde::{Deserialize, Serialize};
use serde_json::json;

/// What of a machine decides its figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores this process may use.
    pub cores: usize,
    /// The processor's name.
    pub cpu: String,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
}

impl Machine {
    /// The machine this runs on; what it does not tell is `unknown`.
    pub fn this() -> Self {
        let unknown = || "unknown".to_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let rustc = Command::new("rustc").arg("--version").output().ok();
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            cpu: processor(&cpuinfo).unwrap_or_else(unknown),
            kernel: release.map_or_else(unknown, |release| release.trim().to_owned()),
            rustc: rustc
                .filter(|output| output.status.success())
                .map_or_else(unknown, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        }
    }

    /// The line that heads a file of results.
    pub fn line(&self) -> String {
        json!({ "machine": self }).to_string()
    }

    /// The machine in words.
    pub fn described(&self) -> String {
        let cores = if self.cores == 1 { "core" } else { "cores" };
        format!("{} {cores} of {}, Linux {}, {}", self.cores, self.cpu, self.kernel, self.rustc)
    }
}

fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let name = line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_as_the_kernel_names_it() {
        let cpuinfo =
            "processor\t: 0\nmodel name\t: Some  CPU @ 2.0GHz\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(processor(cpuinfo).as_deref(), Some("Some CPU @ 2.0GHz"));
        assert_eq!(processor("processor : 0\n"), None);
    }
}
