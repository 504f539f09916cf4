//! What the program prints is what is expected.

use std::process::Command;

#[test]
fn what_it_prints_is_what_is_expected() {
    let output = Command::new(env!("CARGO_BIN_EXE_same-handler")).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = include_str!("../expected.txt");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "compare with expected.txt");
}
