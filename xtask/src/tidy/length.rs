//! A Rust file past 600 lines says why.

use super::{finding::Finding, source::Source};

/// The longest a file may be without a word.
const LINES_MAX: usize = 600;

/// Among how many first lines the reason has to stand: a reader meets it before the code.
const NEAR_THE_TOP: usize = 30;

/// The words that begin the reason.
const REASON: &str = "// Why this long:";

/// The finding, if the file is too long and silent about it.
pub fn check(source: &Source) -> Option<Finding> {
    let lines = source.text.lines().count();
    let explained = |line: &str| line.split_once(REASON).is_some_and(|(_, reason)| !reason.trim().is_empty());
    if !source.is_rust() || lines <= LINES_MAX || source.text.lines().take(NEAR_THE_TOP).any(explained) {
        return None;
    }
    let what = format!("{lines} lines, more than {LINES_MAX}");
    let cure = format!("split the file by subject, or write `{REASON} …` near its top");
    Some(Finding::at(&source.path, LINES_MAX + 1, what, cure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(first: &str, lines: usize) -> Source {
        Source::new("crates/a/src/lib.rs", &format!("{first}\n{}", "//\n".repeat(lines - 1)))
    }

    #[test]
    fn six_hundred_lines_are_fine_and_one_more_is_not() {
        assert_eq!(check(&long("//", LINES_MAX)), None);
        let finding = check(&long("//", LINES_MAX + 1)).expect("too long");
        assert_eq!((finding.line, finding.what.as_str()), (Some(601), "601 lines, more than 600"));
    }

    #[test]
    fn a_reason_near_the_top_excuses_and_an_empty_or_late_one_does_not() {
        assert_eq!(check(&long("// Why this long: one table, generated", 700)), None);
        assert!(check(&long("// Why this long:", 700)).is_some());
        let late = long("//", 650).text + "// Why this long: nobody read this far\n";
        assert!(check(&Source::new("a.rs", &late)).is_some());
    }

    #[test]
    fn only_rust_is_measured() {
        assert_eq!(check(&Source { path: "a.md".to_owned(), ..long("//", 900) }), None);
    }
}
