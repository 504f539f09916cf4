//! `tidings verify`: reads and checks everything in a store.

use std::{io::Write as _, process::ExitCode};

use crate::{
    global::Global,
    output::{
        self,
        number::{count, counted},
        progress::{Unit, bar, moving},
        table::{Column, Rows},
    },
};

/// Read and check everything in the store
///
/// Names each record that is not what was written, the first one first. The status is 1 if there is any.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub async fn run(_: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let bar = bar("verifying", Some(0), Unit::Things);
    let verified = store.verify(&moving(&bar)).await;
    bar.finish_and_clear();
    let verified = verified?;
    let mut out = output::out();
    if global.json {
        output::json_line(&mut out, &verified)?;
    } else if verified.faults.is_empty() {
        writeln!(out, "{} read, everything is sound", counted(verified.events, "event"))?;
    } else {
        let mut rows = Rows::new([Column::Number("position"), Column::Text("problem")]);
        for fault in &verified.faults {
            let position = fault.position.map_or_else(|| "–".to_owned(), |position| position.to_string());
            rows.push([position.as_str(), &fault.problem]);
        }
        rows.print(&mut out)?;
        out.flush()?;
        let first = verified.faults.iter().find_map(|fault| fault.position);
        let first = first.map_or_else(String::new, |first| format!(", the first at position {first}"));
        let faults = counted(verified.faults.len() as u64, "fault");
        output::remark(format_args!(
            "error: {faults} in {} events{first}; restore the store from a backup",
            count(verified.events)
        ));
    }
    out.flush()?;
    Ok(if verified.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
