//! What the program prints is what stands beside it.

use std::process::{Command, Stdio};

#[test]
fn the_program_prints_what_stands_beside_it() {
    let program = env!("CARGO_BIN_EXE_dead-letters");
    let output = Command::new(program).stdin(Stdio::null()).output().expect("the program starts");
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(printed, include_str!("../src/main.txt"), "on the left what it printed; it said: {said}");
}
