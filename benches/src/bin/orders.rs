//! A small shop of four modules, each knowing the others by their events only: `tidings demo`.

use std::process::Command;

use anyhow::{Result, ensure};
use tidings_benches::{
    child::{answer, number, program},
    disk::{ALLOCATOR, Disk},
    harness::Unit,
};

const EVENTS: &str = "20,000 orders: events/s";
const COMMIT: &str = "20,000 orders: events a commit";
const PEER: &str = "tidings demo";

fn main() -> Result<()> {
    let disk = Disk::begin()?;
    let mut job = disk.job(env!("CARGO_BIN_NAME"));
    let program = program()?;
    let orders = disk.pick(20_000, 500).to_string();
    let table = job
        .table(disk.subject("20,000 orders"), Unit::rate("orders/s"))
        .peer(PEER, || {
            let folder = disk.fresh()?;
            let store = format!("sqlite:{}", folder.path().join("demo.db").display());
            let asked = ["demo", "--json", "--orders", &orders, "--seed", "7", "--store", &store];
            let (told, _) = answer(Command::new(&program).args(asked))?;
            ensure!(told.get("balanced") == Some(&true.into()), "the books do not balance: {told}");
            ensure!(number(&told, "orders")?.to_string() == orders, "not all orders were placed: {told}");
            disk.note(EVENTS, PEER, number(&told, "events_per_second")?);
            disk.note(COMMIT, PEER, number(&told, "events")? / number(&told, "commits")?.max(1.0));
            number(&told, "orders_per_second")
        })
        .note(format!(
            "from the first order placed to the last one ended, by the program's own clock; afterwards another process \
             works out stock, money and orders from the log and finds every view equal; {ALLOCATOR}"
        ));
    disk.probed(table).run()?;
    job.table(disk.subject(EVENTS), Unit::rate("events/s")).peer(PEER, disk.noted(EVENTS, PEER)).run()?;
    job.table(disk.subject(COMMIT), Unit::rate("events")).peer(PEER, disk.noted(COMMIT, PEER)).run()
}
