//! A test waits for a condition or drives the clock; it does not sleep and hope.
//!
//! The rare sleep that is right (a pause between two looks at a child process, say) carries its reason on its line or
//! on the one above, as a comment that begins with `wait:`.

use super::{finding::Finding, source::Source};

/// Calls that put a thread or a task to sleep.
const SLEEPS: [&str; 3] = ["thread::sleep", "time::sleep", "thread::park_timeout"];

/// Every sleep in test code that does not give its reason.
pub fn check(source: &Source) -> Vec<Finding> {
    let Some(first) = source.tests_begin().filter(|_| source.is_rust()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut reason_above = false;
    for (number, line) in source.lines() {
        let reasoned = gives_reason(line);
        if number >= first && !reasoned && !reason_above && sleeps(line) {
            let cure =
                "wait for the condition itself, or drive a ManualClock; if it must be, say why: `// wait: …`";
            findings.push(Finding::at(&source.path, number, "a test sleeps", cure));
        }
        reason_above = reasoned && line.trim_start().starts_with("//");
    }
    findings
}

fn sleeps(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let imported = code.trim_start().starts_with("use ")
        && code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "sleep");
    imported || SLEEPS.iter().any(|call| code.contains(call))
}

fn gives_reason(line: &str) -> bool {
    line.split_once("// wait:").is_some_and(|(_, reason)| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A planted call, put together so that this file has none.
    fn call(module: &str) -> String {
        format!("    {module}::{}(a_while);", "sleep")
    }

    fn lines(path: &str, text: &str) -> Vec<Option<usize>> {
        check(&Source::new(path, text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_sleep_in_test_code_is_found_and_one_in_the_code_itself_is_not() {
        for module in ["thread", "std::thread", "tokio::time"] {
            let call = call(module);
            assert_eq!(lines("a/tests/b.rs", &format!("fn a() {{\n{call}\n}}\n")), [Some(2)], "{module}");
            assert_eq!(lines("a/src/b/tests.rs", &call), [Some(1)], "{module}");
            assert_eq!(lines("a/src/b.rs", &call), [], "{module}");
            let both = format!("{call}\n#[cfg(test)]\nmod tests {{\n{call}\n}}\n");
            assert_eq!(lines("a/src/b.rs", &both), [Some(4)], "{module}");
        }
    }

    #[test]
    fn importing_the_call_counts_as_calling_it() {
        let import = format!("use std::thread::{{self, {}}};\n", "sleep");
        assert_eq!(lines("a/tests/b.rs", &import), [Some(1)]);
        assert_eq!(lines("a/tests/b.rs", "use a::{sleeper, sleeping};\n"), []);
    }

    #[test]
    fn a_reason_on_the_line_or_above_it_excuses_and_an_empty_one_does_not() {
        let call = call("thread");
        assert_eq!(lines("a/tests/b.rs", &format!("{call} // wait: the child has no signal\n")), []);
        assert_eq!(lines("a/tests/b.rs", &format!("// wait: the child has no signal\n{call}\n")), []);
        assert_eq!(lines("a/tests/b.rs", &format!("{call} // wait:\n")), [Some(1)]);
        assert_eq!(lines("a/tests/b.rs", &format!("{call} // wait: once\n{call}\n")), [Some(2)]);
    }

    #[test]
    fn a_sleep_in_a_comment_is_only_a_word() {
        assert_eq!(lines("a/tests/b.rs", &format!("// not {}\n", call("thread").trim())), []);
    }
}
