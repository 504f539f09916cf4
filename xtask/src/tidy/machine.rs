//! Nothing of one machine in the repository: no absolute path of somebody's disk, no registry only somebody can reach.

use super::{finding::Finding, source::Source};

/// Where people and build machines keep their files. In halves, so that this file names none.
const FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tmp/ba", "sh_jobs")];

/// Files in which a registry may be named.
const REGISTRY_FILES: [&str; 8] = [
    "Cargo.lock",
    ".cargo/config.toml",
    "Cargo.toml",
    "package-lock.json",
    "package.json",
    ".npmrc",
    "requirements.txt",
    "pip.conf",
];

/// Words that show a line of such a file to be about where packages come from.
const REGISTRY_WORDS: [&str; 6] = ["registry", "source", "resolved", "index", "replace-with", "proxy"];

/// The registries that everybody reaches.
const PUBLIC: [&str; 7] = [
    "github.com/rust-lang/crates.io-index",
    "index.crates.io",
    "static.crates.io",
    "crates.io",
    "registry.npmjs.org",
    "pypi.org",
    "files.pythonhosted.org",
];

/// Endings of host names that only one network knows.
const PRIVATE_ENDINGS: [&str; 5] = [".internal", ".corp", ".lan", ".local", ".intranet"];

/// Every path and host of one machine.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.lines() {
        for folder in FOLDERS.iter().filter(|folder| begins_a_path(folder, line)) {
            let what = format!("a path of one machine: `{folder}…`");
            let cure = "write it relative to the root of the repository, or take it from the environment";
            findings.push(Finding::at(&source.path, number, what, cure));
        }
        for host in private_hosts(&source.path, line) {
            let what = format!("`{host}` is not a registry or host that everybody reaches");
            let cure = "name the public one; a mirror belongs into the machine's own configuration";
            findings.push(Finding::at(&source.path, number, what, cure));
        }
    }
    findings
}

/// Whether the folder is there as the start of a path: `./x` and `a/x` go on from somewhere else.
fn begins_a_path(folder: &str, line: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|letter| letter.is_alphanumeric() || "._-~})]>*".contains(letter))
    })
}

fn private_hosts<'a>(path: &str, line: &'a str) -> Vec<&'a str> {
    let may_name_registry =
        REGISTRY_FILES.iter().any(|name| path == *name || path.ends_with(&format!("/{name}")));
    let about_registry = may_name_registry && REGISTRY_WORDS.iter().any(|word| line.contains(word));
    let mut hosts = Vec::new();
    for (at, mark) in line.match_indices("://") {
        let Some(rest) = line.get(at + mark.len()..) else { continue };
        let end = rest.find(|letter: char| " \"'<>)`".contains(letter)).unwrap_or(rest.len());
        let address = rest.get(..end).unwrap_or(rest);
        let host = address.split(['/', ':', '?', '#']).next().unwrap_or_default();
        let public =
            PUBLIC.iter().any(|known| address == *known || address.starts_with(&format!("{known}/")));
        if (about_registry && !public) || PRIVATE_ENDINGS.iter().any(|ending| host.ends_with(ending)) {
            hosts.push(host);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_path_of_one_machine_is_found_wherever_a_path_begins() {
        for folder in FOLDERS {
            for text in [format!("{folder}x"), format!("see `{folder}x`"), format!("file://{folder}x")] {
                assert_eq!(whats("README.md", &text).len(), 1, "{text}");
            }
        }
    }

    #[test]
    fn a_folder_of_that_name_further_down_is_nobodys_machine() {
        for folder in FOLDERS {
            for text in [format!("crates{folder}x"), format!(".{folder}x"), format!("${{DIR}}{folder}x")] {
                assert_eq!(whats("README.md", &text), Vec::<String>::new(), "{text}");
            }
        }
    }

    #[test]
    fn only_public_registries_may_stand_in_a_lock_file() {
        let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(whats("Cargo.lock", public), Vec::<String>::new());
        for mirror in [
            "https://mirror.example.org/index",
            "http://127.0.0.1:8080/index",
            "https://crates.io.example.org/",
        ] {
            let text = format!("source = \"registry+{mirror}\"\n");
            assert_eq!(whats("Cargo.lock", &text).len(), 1, "{mirror}");
        }
        let npm = "\"resolved\": \"https://registry.npmjs.org/mitt/-/mitt-3.0.1.tgz\"\n";
        assert_eq!(whats("benches/node/package-lock.json", npm), Vec::<String>::new());
        assert_eq!(whats("benches/node/package-lock.json", &npm.replace("npmjs", "elsewhere")).len(), 1);
    }

    #[test]
    fn a_home_page_in_a_manifest_is_no_registry_but_a_private_host_is_private_anywhere() {
        assert_eq!(
            whats("package-lock.json", "\"url\": \"https://opencollective.com/x\"\n"),
            Vec::<String>::new()
        );
        assert_eq!(whats("README.md", "store(\"postgres://localhost/orders\")\n"), Vec::<String>::new());
        let private = format!("see https://wiki{}/page\n", PRIVATE_ENDINGS[0]);
        assert_eq!(whats("README.md", &private).len(), 1);
    }
}
