//! What does an event cost on its way through a buffered handler, with the system's allocator?

fn main() -> anyhow::Result<()> {
    tidings_benches::buffered::run(env!("CARGO_BIN_NAME"), "the system's allocator")
}
