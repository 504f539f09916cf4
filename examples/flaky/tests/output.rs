//! What the program prints and draws is what is expected.

use std::{path::Path, process::Command};

#[test]
fn what_it_prints_and_draws_is_what_is_expected() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flaky.svg");
    let output = Command::new(env!("CARGO_BIN_EXE_flaky")).arg(&file).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = include_str!("../expected.txt");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "compare with expected.txt");
    let drawn = std::fs::read_to_string(&file).expect("it has drawn");
    // Not by `assert_eq!`: nobody reads a picture in a terminal.
    assert!(drawn == include_str!("../flaky.svg"), "compare {} with flaky.svg", file.display());
}
