//! Reading and checking everything: SQLite's own rules, then ours.

use rusqlite::{Connection, OptionalExtension as _};
use tidings_store::{Error, FAULTS_MAX, Fault as Problem, Progress, Verified};

use crate::{
    caches::Caches,
    check, decode,
    decode::Raw,
    documents,
    fault::{Fault, Step},
    ids::Identity,
    marks, pages, search, sql,
};

/// Events between two reports of progress.
const STRIDE: u64 = 4_096;

struct Verifying<'a> {
    conn: &'a Connection,
    caches: &'a mut Caches,
    faults: Vec<Problem>,
    events: u64,
    head: i64,
}

/// Checks the whole store.
pub(crate) fn verify(conn: &Connection, caches: &mut Caches, progress: Progress<'_>) -> Step<Verified> {
    // What had been read before may differ from what is on disk now.
    caches.forget();
    let mut verifying = Verifying { conn, caches, faults: Vec::new(), events: 0, head: 0 };
    let rules: [fn(&mut Verifying<'_>, Progress<'_>) -> Step<()>; 6] = [
        |verifying, _| verifying.integrity(),
        |verifying, progress| verifying.log(progress),
        |verifying, _| verifying.versions(),
        |verifying, _| verifying.ids(),
        |verifying, _| verifying.documents(),
        |verifying, _| marks::checkpoints(verifying.conn).map(drop),
    ];
    for rule in rules {
        // What cannot be read is a fault of the store, not of the question.
        if let Err(fault) = rule(&mut verifying, progress) {
            let error = Error::from(fault);
            verifying.fault(None, error.to_string());
        }
    }
    let Verifying { mut faults, events, .. } = verifying;
    faults.sort_by_key(|fault| (fault.position.is_none(), fault.position));
    faults.truncate(FAULTS_MAX);
    Ok(Verified { events, faults })
}

impl Verifying<'_> {
    fn fault(&mut self, position: Option<i64>, problem: impl Into<String>) {
        // Faults of the log come in order of position, so the first ones are kept; those of the file go last anyway.
        if self.faults.len() < 2 * FAULTS_MAX {
            let position = position.map(|position| position as u64);
            self.faults.push(Problem { position, problem: problem.into() });
        }
    }

    fn integrity(&mut self) -> Step<()> {
        let mut statement = self.conn.prepare(sql::INTEGRITY)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            if line != "ok" {
                self.fault(None, line);
            }
        }
        Ok(())
    }

    /// Every event, in order: its place, its content, and everything by which it is found.
    fn log(&mut self, progress: Progress<'_>) -> Step<()> {
        let head = decode::head(self.conn)?;
        self.head = head;
        let mut statement = self.conn.prepare_cached(sql::EVENTS_UP)?;
        let mut rows = statement.query((0, i64::MAX))?;
        let mut last: Option<(i64, i64)> = None;
        loop {
            let next = last.map_or(1, |(position, _)| position + 1);
            let row = match rows.next() {
                Ok(None) => break,
                Ok(Some(row)) => row,
                Err(error) => {
                    self.fault(Some(next), format!("cannot be read: {error}"));
                    return Ok(());
                }
            };
            let raw = match Raw::of(row) {
                Ok(raw) => raw,
                Err(error) => {
                    let position = row.get(0)?;
                    self.fault(Some(position), format!("cannot be read: {error}"));
                    last = Some((position, last.map_or(i64::MIN, |(_, recorded)| recorded)));
                    continue;
                }
            };
            if last.is_some() && raw.position != next {
                self.fault(Some(next), "is not there");
            }
            if last.is_some_and(|(_, recorded)| raw.recorded < recorded) {
                self.fault(Some(raw.position), "was recorded before the one before it");
            }
            last = Some((raw.position, raw.recorded));
            self.event(&raw)?;
            self.events += 1;
            if self.events.is_multiple_of(STRIDE) {
                progress(self.events, head as u64);
            }
        }
        progress(self.events, head as u64);
        Ok(())
    }

    fn event(&mut self, raw: &Raw<'_>) -> Step<()> {
        let at = Some(raw.position);
        if !raw.is_sound() {
            self.fault(at, "its checksum does not fit: it is not what was written");
        }
        let (tenant_id, event) = match raw.decode(self.conn, self.caches) {
            Ok(decoded) => decoded,
            Err(Fault::Answer(error)) => {
                self.fault(at, error.to_string());
                return Ok(());
            }
            Err(fault) => return Err(fault),
        };
        let tenants = self.caches.tenants(self.conn)?;
        let Some(tenant) = tenants.iter().find(|(id, _)| *id == tenant_id).map(|(_, name)| name.clone())
        else {
            self.fault(at, "its tenant is not known");
            return Ok(());
        };
        let envelope = &event.envelope;
        let identity = Identity::of(&tenant, envelope.source(), envelope.id());
        let known = check::find(self.conn, self.caches, &tenant, envelope, identity)?;
        match known {
            None => self.fault(at, "its id is not remembered"),
            Some(known) if known.position != raw.position => {
                self.fault(at, format!("its id is remembered for position {}", known.position));
            }
            Some(known) if known.content != raw.content() as u32 => {
                self.fault(at, "its id is remembered with other content");
            }
            Some(_) => {}
        }
        let mut terms = vec![raw.name_id];
        search::terms(tenant_id, &event.stream, envelope, |term| terms.push(term));
        for term in terms {
            if !self.conn.prepare_cached(sql::TERM_EXISTS)?.exists((term, raw.position))? {
                self.fault(at, "is not in the index of names, tags, categories and keys");
            }
        }
        let zone = self
            .conn
            .prepare_cached(sql::ZONE)?
            .query_row([pages::block(raw.position)], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let happened = raw.at().unwrap_or(raw.recorded);
        // The block the log is in gets its times when it is complete.
        if pages::block(raw.position) != pages::block(self.head)
            && zone.is_none_or(|(low, high): (i64, i64)| happened < low || high < happened)
        {
            self.fault(at, "is not in the index of event times");
        }
        Ok(())
    }

    /// The versions of each stream: without gaps, and growing with the position.
    fn versions(&mut self) -> Step<()> {
        let mut statement = self.conn.prepare(sql::VERSIONS)?;
        let mut rows = statement.query([])?;
        let mut last: Option<(i64, i64, i64)> = None;
        while let Some(row) = rows.next()? {
            let (stream, version, position): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if let Some((_, before, at)) = last.filter(|(other, ..)| *other == stream) {
                if version != before + 1 {
                    self.fault(
                        Some(position),
                        format!("has version {version}, after {before} in its stream"),
                    );
                }
                if position <= at {
                    self.fault(Some(position), "comes before an earlier version of its stream");
                }
            } else if version != 1 {
                self.fault(
                    Some(position),
                    format!("has version {version}, the first there is in its stream"),
                );
            }
            last = Some((stream, version, position));
        }
        Ok(())
    }

    /// No id is remembered for what is not there. That every event has one is seen with the event.
    fn ids(&mut self) -> Step<()> {
        let many: i64 = self.conn.query_row(sql::COUNT_IDS, [], |row| row.get(0))?;
        if many as u64 == self.events {
            return Ok(());
        }
        let mut statement = self.conn.prepare(sql::IDS_ASTRAY)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.fault(Some(row.get(0)?), "an id is remembered for it that is not the id of an event there");
        }
        Ok(())
    }

    fn documents(&mut self) -> Step<()> {
        let revision: i64 = self.conn.query_row(sql::REVISION, [], |row| row.get(0))?;
        let mut statement = self.conn.prepare(sql::DOCUMENT_ENTRIES)?;
        let mut rows = statement.query([])?;
        let mut many = 0;
        while let Some(row) = rows.next()? {
            let (tenant, namespace, id): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if row.get::<_, i64>(3)? > revision {
                self.fault(None, format!("document {namespace}/{id} is newer than the store's revision"));
            }
            let indexed: Option<Vec<u8>> = row.get(4)?;
            for (field, value) in documents::entries(indexed.as_deref().unwrap_or_default())? {
                many += 1;
                let entry = (&*tenant, &*namespace, field, value, &*id);
                if !self.conn.prepare_cached(sql::FIELD_EXISTS)?.exists(entry)? {
                    self.fault(None, format!("document {namespace}/{id} is not in the index of {field:?}"));
                }
            }
        }
        let there: i64 = self.conn.query_row(sql::COUNT_FIELDS, [], |row| row.get(0))?;
        if there != many {
            self.fault(None, format!("the index of documents has {there} entries, not {many}"));
        }
        Ok(())
    }
}
