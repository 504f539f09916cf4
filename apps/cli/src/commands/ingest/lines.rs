//! Lines of bounded length.

use std::io::{self, BufRead, BufReader, Read};

/// The longest line that is looked at: 4 MiB. A payload of the largest size fits with its metadata, also when a third is
/// added by writing it as base64; a longer line is passed over without being held.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// How much of a line that is too long is shown, in bytes.
const BEGINNING_BYTES: usize = 1_024;

/// Reads lines and counts them.
pub struct Lines<R> {
    from: BufReader<R>,
    /// The number of the line that was read last, from 1.
    pub number: u64,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// It was appended to the buffer, without its end.
    Whole,
    /// It is too long; its beginning was appended.
    TooLong {
        /// How long it is.
        bytes: u64,
    },
}

impl<R: Read> Lines<R> {
    /// The lines of `from`.
    pub fn new(from: BufReader<R>) -> Self {
        Self { from, number: 0 }
    }

    /// Appends the next line to `into`. None at the end.
    pub fn next(&mut self, into: &mut Vec<u8>) -> io::Result<Option<Line>> {
        let begin = into.len();
        let room = LINE_BYTES_MAX as u64 + 1;
        let many = self.from.by_ref().take(room).read_until(b'\n', into)?;
        if many == 0 {
            return Ok(None);
        }
        self.number += 1;
        if into.last() == Some(&b'\n') {
            into.pop();
        } else if many as u64 == room {
            into.truncate(begin + BEGINNING_BYTES);
            return Ok(Some(Line::TooLong { bytes: many as u64 + self.skip()? }));
        }
        if self.number == 1 && into.get(begin..).is_some_and(|line| line.starts_with(b"\xef\xbb\xbf")) {
            // A byte order mark is no part of the first event.
            into.drain(begin..begin + 3);
        }
        Ok(Some(Line::Whole))
    }

    /// Whether the next line will have to be waited for, as far as is known.
    pub fn must_wait(&self) -> bool {
        self.from.buffer().is_empty()
    }

    /// Passes over the rest of a line; answers how long it was.
    fn skip(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffer = match self.from.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let (rest, found) = (end.unwrap_or(buffer.len()), end.is_some());
            let used = rest + usize::from(found);
            self.from.consume(used);
            skipped += rest as u64;
            if found || used == 0 {
                return Ok(skipped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<(u64, Line, Vec<u8>)> {
        let mut lines = Lines::new(BufReader::with_capacity(7, text));
        let mut all = Vec::new();
        let mut buffer = b"before".to_vec();
        while let Some(line) = lines.next(&mut buffer).expect("bytes in memory") {
            all.push((lines.number, line, buffer.split_off(6)));
        }
        all
    }

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        let read = lines(b"\xef\xbb\xbfone\n\nthree\r\nfour");
        let texts: Vec<_> = read.iter().map(|(number, _, text)| (*number, text.as_slice())).collect();
        assert_eq!(texts, [(1, &b"one"[..]), (2, b""), (3, b"three\r"), (4, b"four")]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_measured() {
        let limit = vec![b'x'; LINE_BYTES_MAX];
        let text = [&limit[..], b"\n", &limit, b"yz\nnext"].concat();
        let read = lines(&text);
        assert_eq!(read.len(), 3);
        assert_eq!((&read[0].1, read[0].2.len()), (&Line::Whole, LINE_BYTES_MAX));
        assert_eq!(read[1].1, Line::TooLong { bytes: LINE_BYTES_MAX as u64 + 2 });
        assert_eq!(read[1].2.len(), BEGINNING_BYTES);
        assert_eq!((&read[2].1, read[2].2.as_slice()), (&Line::Whole, &b"next"[..]));
    }
}
