//! What commands share in printing: answers to standard output, everything else to standard error.

pub mod ask;
pub mod event;
pub mod number;
pub mod progress;
pub mod redact;
pub mod table;

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

/// Standard output, locked and buffered. Whoever prints flushes it at the end, to learn of a full disk.
pub type Out = BufWriter<StdoutLock<'static>>;

/// Standard output.
pub fn out() -> Out {
    BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Prints `value` as JSON on a line.
pub fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Says something to the person, beside the answer.
pub fn remark(text: impl std::fmt::Display) {
    // Whether anybody hears it makes no difference to the work.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether the error is only that nobody reads any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// The error and its causes as one sentence on one line; a cause that its effect has quoted is not said again.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if said.contains(&cause) {
            continue;
        }
        if !said.is_empty() {
            said.push_str(": ");
        }
        said.push_str(&cause);
    }
    table::visible(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn an_error_is_one_sentence_and_says_nothing_twice() {
        let cause = "a..b".parse::<tidings::Pattern>().expect_err("not valid");
        let quoted = anyhow::Error::new(cause.clone()).context(format!("refused: {cause}"));
        assert_eq!(sentence(&quoted), "refused: an empty segment at column 3 of \"a..b\"");
        let two_lines: anyhow::Result<()> = Err(anyhow::anyhow!("line one\nline two"));
        let error = two_lines.context("outside").expect_err("an error");
        assert_eq!(sentence(&error), "outside: line one\\nline two");
    }

    #[test]
    fn a_broken_pipe_is_known_through_what_wraps_it() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::new(broken()).context("printing")));
        assert!(is_broken_pipe(&serde_json::Error::io(broken()).into()));
        assert!(!is_broken_pipe(&io::Error::from(io::ErrorKind::NotFound).into()));
    }
}
