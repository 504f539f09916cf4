//! The one that writes: a connection, what it knows of the log, and groups of works made durable by one sync.
//!
//! The caller holds it alone, by a mutex. It does not wait for anybody but another process, and it publishes (ring,
//! beat) before it answers, so that who has an answer finds what it wrote.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rusqlite::Connection;
use tidings_core::{Commit, Text};
use tidings_store::{Applied, Beat, Error, Lease};
use tokio::sync::watch;

use crate::{
    Options,
    caches::Caches,
    check, decode,
    fault::{Fault, Step, explain, is_busy, is_full, is_io},
    ids::Identity,
    leases::{self, Asking},
    node::{self, Node},
    open,
    ring::Ring,
    sql,
    write::{self, Inserts, Log, Writing},
};

/// Something to be written.
#[derive(Debug)]
pub(crate) enum Work {
    Apply(Box<Commit>),
    Lease { name: Text, owner: Text, span: Duration },
    Release { name: Text, owner: Text },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    Applied(Applied),
    Lease(Lease),
    Released,
}

/// How long a group may wait for another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all: whoever runs it must not be held up.
    None,
    /// As long as the options say.
    Whole,
}

/// What readers of this handle share with the writer.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) ring: RwLock<Ring>,
    pub(crate) beats: watch::Sender<Beat>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    options: Options,
    published: Arc<Published>,
    caches: Caches,
    /// `None` after a fault that leaves its state unknown: it is opened again before the next use.
    conn: Option<Connection>,
    /// `None` when what is known of the log may not be so.
    log: Option<Log>,
    data_version: Option<i64>,
    node: Option<Arc<Node>>,
}

impl Writer {
    pub(crate) fn open(path: PathBuf, options: Options, published: Arc<Published>) -> Result<Self, Error> {
        let conn = open::writer(&path, &options)?;
        let mut writer = Self {
            path,
            options,
            published,
            caches: Caches::default(),
            conn: Some(conn),
            log: None,
            data_version: None,
            node: None,
        };
        writer.watch()?;
        Ok(writer)
    }

    /// Closes the connection. The lock of its leases stays as long as there are any: closing a store is not the end
    /// of the process.
    pub(crate) fn shut(&mut self) {
        if let (Some(node), Some(conn)) = (self.node.take(), &self.conn)
            && leases::has_none(conn, &node.id).unwrap_or(false)
        {
            node::not_needed(&self.path);
        }
        self.reopen();
    }

    /// Notices what other processes have committed, and tells.
    pub(crate) fn watch(&mut self) -> Result<(), Error> {
        let conn = connected(&mut self.conn, &self.path, &self.options)?;
        let version = data_version(conn).map_err(Error::from)?;
        if self.data_version == Some(version) {
            return Ok(());
        }
        let head = decode::head(conn).map_err(Error::from)?;
        self.forget();
        self.noticed(version, head);
        Ok(())
    }

    /// Tells of what is there that this handle did not write.
    fn noticed(&mut self, version: i64, head: i64) {
        let first = self.data_version.replace(version).is_none();
        self.published.beats.send_modify(|beat| {
            beat.head = beat.head.max(head as u64);
            beat.commits += u64::from(!first);
        });
    }

    fn forget(&mut self) {
        self.log = None;
        self.caches.forget();
    }

    /// Begins anew: whatever this connection held is dropped with it.
    fn reopen(&mut self) {
        self.forget();
        self.conn = None;
        self.data_version = None;
    }

    /// Does all works in one transaction, each as those before it leave things. `None` when another process writes
    /// and there was no patience for it.
    pub(crate) fn run(&mut self, works: &[&Work], patience: Patience) -> Option<Vec<Result<Done, Error>>> {
        let mut answers = Vec::new();
        let ended = match self.begin(works, patience) {
            Ok(()) => self.work(works, &mut answers),
            Err(Fault::Sql(error)) if patience == Patience::None && is_busy(&error) => return None,
            Err(fault) => Err(Broken::Before(fault)),
        };
        let broken = match ended {
            Ok(()) => return Some(answers),
            Err(broken) => broken,
        };
        let io = matches!(broken.fault(), Fault::Sql(error) if is_io(error));
        self.roll_back(io);
        match broken {
            // Nobody is to blame for what all share; alone, one is to blame for itself.
            Broken::Before(fault) => {
                let error = Error::from(fault);
                Some(works.iter().map(|_| Err(error.clone())).collect())
            }
            Broken::Within(fault) if works.len() == 1 => Some(vec![Err(fault.into())]),
            Broken::Within(_) => Some(self.one_by_one(works)),
            Broken::Committing(Fault::Sql(error)) if is_full(&error) || is_busy(&error) => {
                if works.len() == 1 { Some(vec![Err(explain(&error))]) } else { Some(self.one_by_one(works)) }
            }
            Broken::Committing(fault) => {
                let why = Error::from(fault).to_string();
                let unknown = || Err(Error::Unknown(why.clone()));
                if works.len() == 1 {
                    return Some(vec![unknown()]);
                }
                // What was refused was refused on the strength of what is not known now: it is asked again.
                let again = |(work, answer): (&&Work, Result<Done, Error>)| match answer {
                    Ok(_) => unknown(),
                    Err(_) => self.alone(work),
                };
                Some(works.iter().zip(answers).map(again).collect())
            }
        }
    }

    fn one_by_one(&mut self, works: &[&Work]) -> Vec<Result<Done, Error>> {
        works.iter().map(|work| self.alone(work)).collect()
    }

    fn alone(&mut self, work: &Work) -> Result<Done, Error> {
        let answers = self.run(&[work], Patience::Whole);
        answers.and_then(|mut answers| answers.pop()).unwrap_or(Err(Error::Closed))
    }

    fn roll_back(&mut self, io: bool) {
        self.forget();
        let rolled_back = match &self.conn {
            Some(conn) => conn.is_autocommit() || conn.execute_batch(sql::ROLLBACK).is_ok(),
            None => true,
        };
        if io || !rolled_back {
            self.reopen();
        }
    }

    /// Opens the transaction and makes sure of what is known.
    fn begin(&mut self, works: &[&Work], patience: Patience) -> Step<()> {
        if self.node.is_none() && works.iter().any(|work| matches!(work, Work::Lease { .. })) {
            self.node = Some(node::of_process(&self.path)?);
        }
        let conn = connected(&mut self.conn, &self.path, &self.options)?;
        let begin = || Ok(conn.prepare_cached(sql::BEGIN)?.execute([]).map(drop)?);
        match patience {
            Patience::None => begin()?,
            Patience::Whole => open::patiently(self.options.lock_wait, begin)?,
        }
        let version = data_version(conn)?;
        let foreign = self.data_version != Some(version);
        if foreign {
            self.log = None;
            self.caches.forget();
        }
        let head = match &self.log {
            Some(log) => log.head,
            None => self.log.insert(Log::read(conn)?).head,
        };
        if foreign {
            self.noticed(version, head);
        }
        Ok(())
    }

    /// Checks and writes each work, and commits.
    fn work(&mut self, works: &[&Work], answers: &mut Vec<Result<Done, Error>>) -> Result<(), Broken> {
        let (Some(conn), Some(log)) = (&self.conn, &mut self.log) else {
            return Err(Broken::Before(Error::Closed.into()));
        };
        let mut on = On {
            conn,
            log,
            caches: &mut self.caches,
            options: &self.options,
            store: &self.path,
            node: self.node.as_deref(),
            inserts: None,
        };
        for work in works {
            match on.perform(work) {
                Ok(done) => answers.push(Ok(done)),
                Err(Fault::Answer(error)) => answers.push(Err(error)),
                Err(fault) => return Err(Broken::Within(fault)),
            }
        }
        on.log.flush(conn).map_err(Broken::Within)?;
        drop(on);
        let mut commit = conn.prepare_cached(sql::COMMIT).map_err(|error| Broken::Within(error.into()))?;
        commit.execute([]).map_err(|error| Broken::Committing(error.into()))?;
        drop(commit);
        self.publish(answers);
        Ok(())
    }

    /// Makes visible what is durable now.
    fn publish(&mut self, answers: &[Result<Done, Error>]) {
        let Some(log) = &mut self.log else { return };
        let written = |answer: &&Result<Done, Error>| match answer {
            Ok(Done::Applied(applied)) => !applied.repeated,
            _ => false,
        };
        let commits = answers.iter().filter(written).count() as u64;
        if commits == 0 {
            return;
        }
        if !log.fresh.is_empty() {
            let mut ring = self.published.ring.write();
            for (tenant, event) in log.fresh.drain(..) {
                ring.push(tenant, event);
            }
        }
        let head = log.head as u64;
        self.published.beats.send_modify(|beat| {
            beat.head = head;
            beat.commits += commits;
        });
    }
}

/// Where a group broke.
enum Broken {
    /// Before any work was begun.
    Before(Fault),
    /// In a work.
    Within(Fault),
    /// In the commit: whether it happened is not known, unless the fault says so.
    Committing(Fault),
}

impl Broken {
    fn fault(&self) -> &Fault {
        match self {
            Self::Before(fault) | Self::Within(fault) | Self::Committing(fault) => fault,
        }
    }
}

fn connected<'c>(
    conn: &'c mut Option<Connection>,
    path: &std::path::Path,
    options: &Options,
) -> Result<&'c Connection, Error> {
    match conn {
        Some(conn) => Ok(conn),
        empty => {
            // The store is there: it is not made a second time.
            open::look(path, &Options { create: false, ..options.clone() })?;
            Ok(empty.insert(open::writer(path, &Options { create: false, ..options.clone() })?))
        }
    }
}

/// A number that changes when another connection has committed.
fn data_version(conn: &Connection) -> Step<i64> {
    Ok(conn.prepare_cached(sql::DATA_VERSION)?.query_row([], |row| row.get(0))?)
}

/// What a work is done on, within the transaction.
struct On<'a> {
    conn: &'a Connection,
    log: &'a mut Log,
    caches: &'a mut Caches,
    options: &'a Options,
    store: &'a std::path::Path,
    node: Option<&'a Node>,
    /// Made when the first event of the group is written.
    inserts: Option<Inserts<'a>>,
}

impl On<'_> {
    fn perform(&mut self, work: &Work) -> Step<Done> {
        match work {
            Work::Apply(commit) => self.apply(commit).map(Done::Applied),
            Work::Lease { name, owner, span } => {
                let node = &self.node.ok_or(Error::Closed)?.id;
                let asking = Asking { store: self.store, node, now: self.options.clock.now() };
                leases::lease(self.conn, &asking, name, owner, *span).map(Done::Lease)
            }
            Work::Release { name, owner } => {
                leases::release(self.conn, name, owner)?;
                Ok(Done::Released)
            }
        }
    }

    fn apply(&mut self, commit: &Commit) -> Step<Applied> {
        let events = commit.appends.iter().flat_map(|append| &append.events);
        let identities: Vec<_> =
            events.map(|event| Identity::of(&commit.tenant.0, event.source(), event.id())).collect();
        if let Some(answer) = check::check(self.conn, self.caches, self.log, commit, &identities)? {
            return Ok(answer);
        }
        let values = write::values(self.conn, commit)?;
        let now = self.options.clock.now();
        let writing = Writing { commit, identities: &identities, values: &values, now };
        write::write(self.conn, self.caches, self.log, &mut self.inserts, writing).map_err(Fault::torn)
    }
}
