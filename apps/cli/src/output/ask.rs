//! Asking before something that cannot be taken back.

use std::io::{self, IsTerminal as _, Write as _};

/// Whether to go on with `what`: asks the person if there is one, who may also have said yes before.
pub fn confirmed(what: &str, yes: bool) -> io::Result<bool> {
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    write!(io::stderr(), "{what} [y/N] ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
