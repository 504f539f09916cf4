//! A copy of the store as it is at one moment, made while it is being written.

use std::{fs::File, path::Path};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use tidings_store::{Error, Progress};

use crate::fault::{Fault, Step, io};

/// Pages copied between two reports of progress: 8 MiB.
const STEP_PAGES: i32 = 1_024;

/// Copies to `to`, which must not be there. The copy has another name until it is whole, so that what is cut short is
/// never taken for a store. `source` is in a read transaction: what it sees does not change.
pub(crate) fn copy(source: &Connection, to: &Path, progress: Progress<'_>) -> Step<()> {
    if to.symlink_metadata().is_ok() {
        return Err(Error::Refused(format!("{} is there already", to.display())).into());
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push("-partial");
    let partial = Path::new(&partial);
    let made = copy_pages(source, partial, progress).and_then(|()| {
        let doing = format!("finishing the copy {}", to.display());
        finish(partial, to).map_err(|error| Fault::from(io(&doing, &error)))
    });
    if made.is_err() {
        let _ = std::fs::remove_file(partial);
    }
    made
}

fn copy_pages(source: &Connection, to: &Path, progress: Progress<'_>) -> Step<()> {
    // What an earlier copy left when it was cut short.
    let _ = std::fs::remove_file(to);
    let mut target = Connection::open(to)?;
    let backup = Backup::new(source, &mut target)?;
    loop {
        let step = backup.step(STEP_PAGES)?;
        let left = backup.progress();
        let (all, left) = (left.pagecount.max(0) as u64, left.remaining.max(0) as u64);
        progress(all - left.min(all), all);
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => return Err(Error::Locked("the copy is being read by somebody".into()).into()),
        }
    }
    drop(backup);
    target.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Gives the copy its name, which must be free, and makes both durable.
fn finish(partial: &Path, to: &Path) -> std::io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::hard_link(partial, to)?;
    std::fs::remove_file(partial)?;
    if let Some(folder) = to.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
