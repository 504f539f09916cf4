//! A link from one page of the repository to another leads somewhere.

use super::{finding::Finding, source::Source};

/// Every link of a Markdown page to a path that does not exist. `exists` is asked about paths relative to the root.
pub fn check(source: &Source, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    if !source.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut fenced = false;
    for (number, line) in source.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            let page = target.split('#').next().unwrap_or_default();
            let elsewhere = page.is_empty() || page.contains("://") || page.starts_with("mailto:");
            if elsewhere || resolve(folder, page).is_some_and(|path| exists(&path)) {
                continue;
            }
            let what = format!("a link to `{page}`, which is not there");
            findings.push(Finding::at(
                &source.path,
                number,
                what,
                "correct the path; it is relative to this page",
            ));
        }
    }
    findings
}

/// What the `](…)` of a line point to, leaving out what is quoted as code.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').step_by(2);
    prose
        .flat_map(|text| text.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split(' ').next().unwrap_or_default())
        .collect()
}

/// The path relative to the root, or nothing if it leaves the repository.
fn resolve(folder: &str, page: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in page.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        let exists = |path: &str| ["README.md", "docs/adr", "docs/adr/0001.md"].contains(&path);
        check(&Source::new(path, text), exists).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn links_are_resolved_from_the_page_they_stand_on() {
        let text = "[a](0001.md) [b](../../README.md#top) [c](../adr/) [d](#here) [e](https://x.org/y.md)\n";
        assert_eq!(broken("docs/adr/README.md", text), Vec::<String>::new());
        assert_eq!(broken("README.md", "[a](docs/adr/0001.md)\n"), Vec::<String>::new());
    }

    #[test]
    fn a_link_to_nowhere_or_out_of_the_repository_is_found() {
        assert_eq!(
            broken("README.md", "see [a](docs/adr/0002.md)\n"),
            ["a link to `docs/adr/0002.md`, which is not there"]
        );
        assert_eq!(broken("README.md", "[`a`](../README.md)\n").len(), 1);
    }

    #[test]
    fn code_and_other_files_are_left_alone() {
        assert_eq!(
            broken("README.md", "`[a](nowhere.md)`\n```\n[a](nowhere.md)\n```\n"),
            Vec::<String>::new()
        );
        assert_eq!(broken("a.rs", "//! [a](nowhere.md)\n"), Vec::<String>::new());
    }
}
