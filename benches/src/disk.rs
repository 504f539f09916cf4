//! What jobs on a disk have in common: where they write, how they notice that the disk has changed, and several figures
//! of one run.
//!
//! The harness measures one figure a round. A run that appends has more to tell (its rate, its percentiles, its syncs),
//! so it [notes](Disk::note) the others, and [`Disk::noted`] gives them to a later table, round by round, without those
//! of rounds that were thrown away.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    harness::{Job, Measure, Table},
    peers::{ABSENT, Log as _, Peer, RawLog, Server},
    workload::{self, Sample},
};

/// The variable that names the folder to write in; without it, the one for temporary files.
pub const FOLDER: &str = "TIDINGS_BENCH_DIR";

/// A round in which the probe's rate moved by more than this part does not count.
const TOLERANCE: f64 = 0.30;

/// A 99th percentile over a third of a second moves more than a rate does, when nothing has changed: it counts this
/// much.
const WEIGHT_OF_P99: f64 = 0.3;

/// What is said of all disk jobs.
pub const ALLOCATOR: &str = "all in this process with the system's allocator";

/// A disk job.
pub struct Disk {
    quick: bool,
    folder: TempDir,
    runtime: Runtime,
    notes: Rc<Notes>,
    samples: Vec<Arc<Sample>>,
    server: RefCell<Option<Result<Arc<Server>, String>>>,
}

#[derive(Debug, Default)]
struct Notes {
    /// Of the round that runs, by subject and peer.
    running: RefCell<BTreeMap<(String, String), f64>>,
    /// Of the rounds that count.
    kept: RefCell<BTreeMap<(String, String), Vec<f64>>>,
}

impl Disk {
    /// Reads the arguments (`--quick` makes everything small) and finds a folder on a disk.
    ///
    /// # Errors
    /// Other arguments, or a folder that is in memory, where a sync does nothing.
    pub fn begin() -> Result<Self> {
        let mut quick = false;
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--quick" => quick = true,
                other => bail!("unknown argument {other:?}; there is `--quick`"),
            }
        }
        let place = std::env::var_os(FOLDER).map_or_else(std::env::temp_dir, PathBuf::from);
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let kind = file_system(&mounts, &place.canonicalize()?);
        ensure!(
            kind != Some("tmpfs"),
            "{} is in memory; name a folder on a disk in {FOLDER}",
            place.display()
        );
        let folder = tempfile::Builder::new().prefix("tidings-bench-").tempdir_in(place)?;
        // The server of another database may run as another user, and has to come through here.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(Self {
            quick,
            folder,
            runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
            notes: Rc::default(),
            samples: workload::sequence(4_000, 1_000)?,
            server: RefCell::default(),
        })
    }

    /// The job of a binary, with five rounds, or one that is quick.
    pub fn job(&self, name: &str) -> Job {
        Job::new(name).rounds(self.pick(5, 1))
    }

    /// The subject as the report shall call it. A quick run measures something else, and says so.
    pub fn subject(&self, subject: &str) -> String {
        self.pick(subject.to_owned(), format!("quick, much smaller than: {subject}"))
    }

    /// `small` where the job is quick, else `full`.
    pub fn pick<T>(&self, full: T, small: T) -> T {
        if self.quick { small } else { full }
    }

    /// Where our code and its callers run.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The folder of the job.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new, empty folder, gone when it is dropped.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn fresh(&self) -> Result<TempDir> {
        let fresh = tempfile::Builder::new().prefix("store").tempdir_in(self.folder.path())?;
        // What earlier peers left to be written must not be paid for by the next one.
        std::process::Command::new("sync").status()?;
        Ok(fresh)
    }

    /// PostgreSQL as a peer, started when it is first asked for; or why there is none.
    ///
    /// # Errors
    /// It is installed and does not start.
    pub fn postgres(&self) -> Result<Result<Peer, String>> {
        let mut server = self.server.borrow_mut();
        let started = match server.take() {
            Some(started) => started,
            None => match Server::start(self.folder()) {
                Ok(started) => Ok(Arc::new(started)),
                Err(error) if error.to_string() == ABSENT => Err(format!("PostgreSQL skipped: {ABSENT}")),
                Err(error) => return Err(error),
            },
        };
        let peer = started.clone().map(Peer::Postgres);
        *server = Some(started);
        Ok(peer)
    }

    /// Notes another figure of the run that is going on.
    pub fn note(&self, subject: &str, peer: &str, figure: f64) {
        self.notes.running.borrow_mut().insert((subject.to_owned(), peer.to_owned()), figure);
    }

    /// The figures noted in the rounds that counted, as rounds of a table of their own.
    pub fn noted(&self, subject: &str, peer: &str) -> impl Measure + use<> {
        let key = (subject.to_owned(), peer.to_owned());
        let kept = self.notes.kept.borrow().get(&key).cloned().unwrap_or_default();
        // A table warms up with a round that does not count.
        let mut rounds: VecDeque<f64> =
            kept.first().copied().into_iter().chain(kept.iter().copied()).collect();
        move || rounds.pop_front().with_context(|| format!("{}: fewer rounds than asked for", key.0))
    }

    /// Gives the table its probe: a raw log with one appender.
    pub fn probed<'a>(&'a self, table: Table<'a>) -> Table<'a> {
        let tolerance = self.pick(TOLERANCE, f64::INFINITY);
        let probe = Probe { disk: self, tolerance, before: None };
        table.probe("the raw log at one appender (1 at the beginning of a round)", tolerance, probe)
    }

    /// One appender to a raw log for a third of a second: its rate, and the 99th percentile of its waits in µs.
    fn probe(&self) -> Result<(f64, f64)> {
        let folder = self.fresh()?;
        let log = RawLog::open(folder.path())?;
        let span = Duration::from_millis(self.pick(330, 50));
        let waits = self.runtime.block_on(async {
            let (begun, mut waits) = (Instant::now(), Vec::new());
            for sample in self.samples.iter().cycle() {
                let sent = Instant::now();
                log.append(vec![sample.clone()]).await?;
                waits.push(micros(sent.elapsed()));
                if begun.elapsed() > span {
                    break;
                }
            }
            anyhow::Ok(waits)
        })?;
        let rate = waits.len() as f64 / (waits.iter().sum::<f64>() / 1e6);
        Ok((rate, percentile(&waits, 0.99)))
    }
}

struct Probe<'a> {
    disk: &'a Disk,
    tolerance: f64,
    before: Option<(f64, f64)>,
}

impl Measure for Probe<'_> {
    /// 1 at the beginning of a round; at its end, by how much more the disk has moved.
    fn measure(&mut self) -> Result<f64> {
        let after = self.disk.probe()?;
        let notes = &self.disk.notes;
        let Some(before) = self.before.take() else {
            self.before = Some(after);
            notes.running.borrow_mut().clear();
            return Ok(1.0);
        };
        let moved = moved(before, after);
        eprintln!(
            "probe: {:.0} → {:.0} appends/s, p99 {:.0} → {:.0} µs",
            before.0, after.0, before.1, after.1
        );
        let running = std::mem::take(&mut *notes.running.borrow_mut());
        if moved <= self.tolerance {
            let mut kept = notes.kept.borrow_mut();
            for (key, figure) in running {
                kept.entry(key).or_default().push(figure);
            }
        }
        Ok(1.0 + moved)
    }
}

fn moved(before: (f64, f64), after: (f64, f64)) -> f64 {
    let part = |before: f64, after: f64| (after - before).abs() / before.min(after).max(f64::MIN_POSITIVE);
    part(before.0, after.0).max(part(before.1, after.1) * WEIGHT_OF_P99)
}

/// A time in microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

/// The value that `part` of them do not exceed; 0 of none.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((part * last as f64).round() as usize).copied().unwrap_or(0.0)
}

/// Syncs the disk under a folder has been asked for since it is there, if it tells.
///
/// The kernel counts them for the whole device, so between two looks there may be more than one's own, not fewer.
pub fn flushes(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let device = folder.metadata().ok()?.dev();
    // As glibc takes device numbers apart.
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let figures = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    figures.split_whitespace().nth(15)?.parse().ok()
}

/// The file system a folder is in.
fn file_system<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
        folder.starts_with(at).then_some((at.len(), kind))
    });
    mounted.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_in_the_file_system_that_is_mounted_closest_above_it() {
        let mounts = "disk / ext4 rw 0 0\nnone /tmp tmpfs rw 0 0\nnone /tmpfiles proc rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/a")), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/home")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/home")), None);
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (51.0, 100.0));
        assert_eq!((percentile(&[], 0.5), percentile(&[7.0], 0.99)), (0.0, 7.0));
    }

    #[test]
    fn a_disk_has_moved_when_its_rate_or_much_of_its_tail_has() {
        assert_eq!(moved((100.0, 10.0), (100.0, 10.0)), 0.0);
        assert!(moved((100.0, 10.0), (70.0, 10.0)) > TOLERANCE);
        assert!(moved((100.0, 10.0), (95.0, 15.0)) < TOLERANCE);
        assert!(moved((100.0, 10.0), (100.0, 25.0)) > TOLERANCE);
    }
}
