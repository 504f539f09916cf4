//! What does it cost to look at events on their way?

fn main() -> anyhow::Result<()> {
    tidings_benches::observed::run(env!("CARGO_BIN_NAME"))
}
