//! Nothing unfinished and no test switched off: what is committed works, what does not work is not committed.

use super::{finding::Finding, source::Source};

/// What marks unfinished code: the mark, and whether it counts in Rust only. In halves, so that this file has none.
const MARKS: [(&str, Where); 4] = [
    (concat!("to", "do!("), Where::Rust),
    (concat!("unimple", "mented!("), Where::Rust),
    (concat!("FIX", "ME"), Where::AnyCode),
    (concat!("XX", "X"), Where::AnyCode),
];

/// What switches a test off.
const IGNORED: [&str; 2] = [concat!("#[ig", "nore"), concat!(", ig", "nore)]")];

/// The endings of files that hold code.
const CODE: [&str; 14] =
    ["rs", "toml", "sql", "sh", "c", "h", "js", "mjs", "ts", "svelte", "html", "css", "py", "run"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Rust,
    AnyCode,
}

/// Every mark and every switched-off test.
pub fn check(source: &Source) -> Vec<Finding> {
    let ending = source.path.rsplit(['.', '/']).next().unwrap_or_default();
    if !CODE.contains(&ending) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in source.lines() {
        for (mark, place) in MARKS {
            if (place == Where::AnyCode || source.is_rust()) && stands_alone(mark, line) {
                let what = format!("`{mark}` marks unfinished code");
                findings.push(Finding::at(&source.path, number, what, "finish it, or take it out"));
            }
        }
        let switched_off =
            line.contains(IGNORED[0]) || (line.contains("cfg_attr(") && line.contains(IGNORED[1]));
        if source.is_rust() && switched_off {
            let cure = "let it run; one that cannot run here appends a line to the file in TIDINGS_SKIPS and returns";
            findings.push(Finding::at(&source.path, number, "a test that never runs", cure));
        }
    }
    findings
}

/// Whether the mark is there as a word of its own, not within another one (`mktemp` has templates of such letters).
fn stands_alone(mark: &str, line: &str) -> bool {
    let in_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(mark).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + mark.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(in_word) && (mark.ends_with('(') || !after.is_some_and(in_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<Option<usize>> {
        check(&Source::new(path, text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn each_mark_is_found_on_its_line() {
        for (mark, _) in MARKS {
            assert_eq!(
                lines("a/src/lib.rs", &format!("fn a() {{\n    {mark} x)\n}}\n")),
                [Some(2)],
                "{mark}"
            );
        }
    }

    #[test]
    fn marks_count_in_scripts_but_not_in_prose_and_macros_only_in_rust() {
        let (macro_mark, word) = (MARKS[0].0, MARKS[2].0);
        assert_eq!(lines(".ci/run", &format!("# {word}\n")), [Some(1)]);
        assert_eq!(lines("a.md", &format!("{word}\n")), []);
        assert_eq!(lines("a.js", &format!("{macro_mark})\n")), []);
    }

    #[test]
    fn letters_within_a_word_are_no_mark() {
        let six = MARKS[3].0.repeat(2);
        assert_eq!(lines("a.sh", &format!("mktemp -d log.{six}\n")), []);
        assert_eq!(lines("a.rs", &format!("my_{})\n", MARKS[0].0)), []);
    }

    #[test]
    fn a_switched_off_test_is_found_however_it_is_written() {
        let plain = format!("#[test]\n{}]\nfn a() {{}}\n", IGNORED[0]);
        assert_eq!(lines("a.rs", &plain), [Some(2)]);
        let reasoned = format!("{} = \"slow\"]\n", IGNORED[0]);
        assert_eq!(lines("a.rs", &reasoned), [Some(1)]);
        let conditional = format!("#[cfg_attr(windows{}\n", IGNORED[1]);
        assert_eq!(lines("a.rs", &conditional), [Some(1)]);
    }
}
