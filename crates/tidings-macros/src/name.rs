//! The grammar of event names, checked while compiling.
//!
//! It is that of topics in `tidings-core`, which this crate must not import; a test holds the two together.

/// The longest name, in bytes.
const BYTES_MAX: usize = 255;

/// The most segments.
const SEGMENTS_MAX: usize = 32;

/// Checks a name.
///
/// # Errors
/// What is wrong, and at which column, counted in characters from 1.
pub(crate) fn check(name: &str) -> Result<(), (&'static str, usize)> {
    if name.is_empty() {
        return Err(("it is empty", 1));
    }
    if name.len() > BYTES_MAX {
        return Err(("it has more than 255 bytes", name.chars().count()));
    }
    let mut column = 1;
    for (index, segment) in name.split('.').enumerate() {
        if segment.is_empty() {
            return Err(("a segment is empty", column));
        }
        if index == SEGMENTS_MAX {
            return Err(("it has more than 32 segments", column));
        }
        for c in segment.chars() {
            if c == '*' {
                return Err(("a `*` belongs in patterns, not in names", column));
            }
            if c.is_whitespace() || c.is_control() {
                return Err(("there is white space or a control character", column));
            }
            column += 1;
        }
        column += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidings_core::check_topic;

    use super::check;

    #[test]
    fn names_are_what_topics_are() {
        let mut names = vec![
            "a".repeat(255),
            "a".repeat(256),
            "é".repeat(128),
            vec!["a"; 32].join("."),
            vec!["a"; 33].join("."),
            vec!["aa"; 100].join("."),
            "order.placed".to_owned(),
        ];
        let letters = ["a", ".", "*", " ", "é", "\u{7}", "\u{a0}"];
        let mut of_length = vec![String::new()];
        for _ in 0..5 {
            names.extend(of_length.iter().cloned());
            of_length = of_length
                .iter()
                .flat_map(|name| letters.iter().map(move |letter| format!("{name}{letter}")))
                .collect();
        }
        for name in names {
            let column = check_topic(&name).err().map(|error| error.column);
            assert_eq!(check(&name).err().map(|(_, column)| column), column, "{name:?}");
        }
    }
}
