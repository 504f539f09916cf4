//! What the programs print is what stands beside them.

use std::process::{Command, Stdio};

fn prints(program: &str, expected: &str) {
    let output = Command::new(program).stdin(Stdio::null()).output().expect("the program starts");
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(printed, expected, "on the left what it printed; beside it, it said: {said}");
}

#[test]
fn each_program_prints_what_stands_beside_it() {
    prints(env!("CARGO_BIN_EXE_bus-leaks"), include_str!("../src/leaks.txt"));
    prints(env!("CARGO_BIN_EXE_bus-modules"), include_str!("../src/modules.txt"));
    prints(env!("CARGO_BIN_EXE_bus-patterns"), include_str!("../src/patterns.txt"));
    prints(env!("CARGO_BIN_EXE_bus-overhead"), include_str!("../src/overhead.txt"));
}
