//! `tidings backup`: a copy of a store, made while it is being used.

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::{
    global::Global,
    output::{
        self,
        number::{bytes, span},
        progress::{Unit, bar, moving},
    },
};

/// Copy the store to a new file, as it is at one moment, while it is being used
///
/// The copy is a store itself. A file that is there already is not touched.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The new file
    file: PathBuf,
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let begun = Instant::now();
    let bar = bar("copying", Some(0), Unit::Things);
    let copied = store.backup(&args.file, &moving(&bar)).await;
    bar.finish_and_clear();
    copied.with_context(|| format!("cannot back up {} to {}", global.url(), args.file.display()))?;
    let size = std::fs::metadata(&args.file)?.len();
    let mut out = output::out();
    if global.json {
        let seconds = begun.elapsed().as_secs_f64();
        output::json_line(&mut out, &json!({"file": args.file, "bytes": size, "seconds": seconds}))?;
    } else {
        writeln!(out, "{}: {} in {}", args.file.display(), bytes(size), span(begun.elapsed()))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
