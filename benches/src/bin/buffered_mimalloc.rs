//! What does an event cost on its way through a buffered handler, with mimalloc?

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    tidings_benches::buffered::run(env!("CARGO_BIN_NAME"), "mimalloc")
}
