//! Pages of the log and of streams, from the file.

use std::{collections::HashSet, ops::ControlFlow};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _};
use tidings_core::{Pattern, Tenant};
use tidings_store::{Direction, Error, PAGE_BYTES, PAGE_EVENTS_MAX, Page, Read, Recorded, Tenants};

use crate::{
    caches::{Caches, stream_id},
    candidates::{Conjunction, Found},
    decode::{self, Raw},
    fault::Step,
    search::{self, Plan},
    sql,
};

/// The most rows looked at for one page: a filter that matches little answers with a page that is not full, so that
/// nobody reads for long without a pause.
const ROWS_MAX: usize = 16_384;

/// The same for a small page, which is read on a thread that has other things to do.
const ROWS_SMALL_MAX: usize = 2_048;

/// Up to this many events a page is small.
pub(crate) const SMALL_PAGE: usize = 256;

/// Candidates looked at to tell whether an index is worth following.
const PROBES: usize = 256;

/// When at least one event in so many is a candidate, reading all of them in order is faster than finding each.
const DENSE: i64 = 4;

/// For how many events a page makes room at first, unless it is smaller.
const FIRST: usize = 1_024;

/// A page being filled, and the question it answers.
pub(crate) struct Filling<'q> {
    read: &'q Read,
    limit: usize,
    rows_max: usize,
    bytes: usize,
    looked: usize,
    page: Page,
    /// The last position that is looked at.
    until: i64,
    /// Where the log ended when it was read.
    head: i64,
}

impl<'q> Filling<'q> {
    pub(crate) fn of(read: &'q Read) -> Self {
        let page = Page { events: Vec::new(), next: read.from, end: true };
        let limit = read.limit.clamp(1, PAGE_EVENTS_MAX);
        let rows_max = if limit <= SMALL_PAGE { ROWS_SMALL_MAX } else { ROWS_MAX };
        Self { read, limit, rows_max, bytes: 0, looked: 0, page, until: i64::MAX, head: 0 }
    }

    /// Goes on with a page begun elsewhere.
    pub(crate) fn go_on(read: &'q Read, page: Page) -> Self {
        let bytes = page.events.iter().map(|event| event.envelope.payload().map_or(0, Bytes::len)).sum();
        Self { bytes, page, ..Self::of(read) }
    }

    /// The same up to a position; the page ends there as if the log did.
    pub(crate) fn until(mut self, position: u64) -> Self {
        self.until = bound(position);
        self
    }

    /// What has been filled, to be joined with what follows it.
    pub(crate) fn part(self) -> Part {
        Part { page: self.page, bytes: self.bytes, head: self.head }
    }

    /// Where the page goes on.
    pub(crate) fn next(&self) -> u64 {
        self.page.next
    }

    /// Whether another event can be looked at; when not, the page ends here although there is more.
    pub(crate) fn has_room(&mut self) -> bool {
        let room =
            self.page.events.len() < self.limit && self.bytes < PAGE_BYTES && self.looked < self.rows_max;
        self.page.end &= room;
        room
    }

    /// Says that everything up to `number` has been looked at.
    pub(crate) fn passed(&mut self, number: u64) {
        self.page.next = number;
        self.looked += 1;
    }

    /// Takes the event if it is wanted.
    pub(crate) fn offer(&mut self, event: Recorded) {
        if self.read.filter.matches(&event) {
            if self.page.events.is_empty() {
                self.page.events.reserve(self.limit.min(FIRST));
            }
            self.bytes += event.envelope.payload().map_or(0, Bytes::len);
            self.page.events.push(event);
        }
    }

    /// The same with an event that is cloned only if it is wanted.
    pub(crate) fn offer_shared(&mut self, event: &Recorded) {
        if self.read.filter.matches(event) {
            self.bytes += event.envelope.payload().map_or(0, Bytes::len);
            self.page.events.push(event.clone());
        }
    }

    pub(crate) fn sees(&self, tenant: &Tenant) -> bool {
        self.read.tenants.sees(tenant)
    }

    /// Whether the page has come to its end although there is more.
    pub(crate) fn is_full(&self) -> bool {
        !self.page.end
    }

    pub(crate) fn finish(self) -> Page {
        self.page
    }

    fn pause(&mut self, next: u64) {
        self.page.next = next;
        self.page.end = false;
    }
}

/// A part of a page.
pub(crate) struct Part {
    pub(crate) page: Page,
    bytes: usize,
    head: i64,
}

impl Part {
    /// Whether the log reached `position` when this was read, and everything up to there has been looked at.
    pub(crate) fn reached(&self, position: u64) -> bool {
        self.page.end && self.head >= bound(position)
    }

    /// One page of two parts, the second of which begins where the first ends.
    pub(crate) fn join(self, behind: Self) -> Page {
        // Large events close a page early: what is behind is read again when it is asked for.
        if self.bytes + behind.bytes > PAGE_BYTES {
            return Page { end: false, ..self.page };
        }
        let mut page = self.page;
        page.events.extend(behind.page.events);
        (page.next, page.end) = (behind.page.next, behind.page.end);
        page
    }
}

/// The number as SQLite keeps it; what is beyond its range is beyond every position.
fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Fills a page from the file.
pub(crate) fn fill(conn: &Connection, caches: &mut Caches, filling: &mut Filling<'_>) -> Step<()> {
    let read = filling.read;
    match &read.stream {
        Some(stream) => {
            let Tenants::One(tenant) = &read.tenants else {
                return Err(Error::Refused("a stream is read for one tenant".into()).into());
            };
            fill_stream(conn, caches, filling, tenant, stream)
        }
        None => fill_log(conn, caches, filling),
    }
}

fn fill_stream(
    conn: &Connection,
    caches: &mut Caches,
    filling: &mut Filling<'_>,
    tenant: &Tenant,
    stream: &str,
) -> Step<()> {
    let Some(tenant) = caches.tenant_id(conn, &tenant.0)? else { return Ok(()) };
    let Some(id) = stream_id(conn, tenant, stream)? else { return Ok(()) };
    let mut statement = conn.prepare_cached(match filling.read.direction {
        Direction::Forward => sql::STREAM_UP,
        Direction::Backward => sql::STREAM_DOWN,
    })?;
    let mut rows = statement.query((id, bound(filling.next())))?;
    while let Some(row) = rows.next()? {
        if !filling.has_room() {
            break;
        }
        let raw = Raw::of(row)?;
        filling.passed(raw.version as u64);
        filling.offer(raw.decode(conn, caches)?.1);
    }
    Ok(())
}

/// The whole log, or what a filter wants of it, between two positions, both excluded.
struct Span {
    above: i64,
    below: i64,
    direction: Direction,
}

impl Span {
    /// The first position in it.
    fn first(&self) -> i64 {
        match self.direction {
            Direction::Forward => self.above.saturating_add(1),
            Direction::Backward => self.below.saturating_sub(1),
        }
    }

    fn contains(&self, position: i64) -> bool {
        self.above < position && position < self.below
    }

    /// The same from beyond `position` on.
    fn beyond(&self, position: i64) -> Self {
        match self.direction {
            Direction::Forward => Self { above: position, ..*self },
            Direction::Backward => Self { below: position, ..*self },
        }
    }
}

fn fill_log(conn: &Connection, caches: &mut Caches, filling: &mut Filling<'_>) -> Step<()> {
    let read = filling.read;
    filling.head = decode::head(conn)?;
    let head = filling.head.min(filling.until);
    let from = bound(filling.next());
    let mut span = match read.direction {
        Direction::Forward => Span { above: from, below: head + 1, direction: read.direction },
        Direction::Backward => Span { above: 0, below: from.min(head + 1), direction: read.direction },
    };
    if let Some((low, high)) = read.filter.recorded {
        let first = first_recorded(conn, head, low.as_micros())?;
        let last = first_recorded(conn, head, high.as_micros())?;
        span = Span { above: span.above.max(first - 1), below: span.below.min(last), ..span };
    }
    let tenants = search::tenant_ids(conn, caches, &read.tenants)?;
    let plan = if tenants.is_empty() {
        Plan::Candidates(Conjunction(vec![search::nothing()]))
    } else {
        search::plan(conn, caches, &tenants, &read.filter)?
    };
    match plan {
        Plan::Scan => scan(conn, caches, filling, span, head)?,
        Plan::Candidates(mut candidates) => {
            if is_dense(conn, &mut candidates, &span)? {
                scan(conn, caches, filling, span, head)?;
            } else {
                follow(conn, caches, filling, candidates, span)?;
            }
        }
    }
    if filling.page.end {
        // Whatever was passed over without being looked at is not wanted: go on behind it.
        let end = match read.direction {
            Direction::Forward => filling.next().max(head as u64),
            Direction::Backward => filling.next().min(1),
        };
        filling.page.next = end;
    }
    Ok(())
}

/// The first position recorded at or after a time; behind the head when there is none. Recorded times never decrease,
/// so it is found by bisection.
fn first_recorded(conn: &Connection, head: i64, at: i64) -> Step<i64> {
    let mut statement = conn.prepare_cached(sql::RECORDED_AT)?;
    let (mut low, mut high) = (1, head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = statement.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((position, recorded)) if i64::lt(&recorded, &at) => low = i64::max(position, middle) + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Whether the first candidates lie so close together that the index is not worth following.
fn is_dense(conn: &Connection, candidates: &mut Conjunction, span: &Span) -> Step<bool> {
    let (first, mut at) = (span.first(), span.first());
    let mut budget = PROBES;
    for _ in 0..PROBES {
        match candidates.seek(conn, at, span.direction, &mut budget)? {
            Found::At(position) if span.contains(position) => {
                at = match span.direction {
                    Direction::Forward => position + 1,
                    Direction::Backward => position - 1,
                };
            }
            _ => return Ok(false),
        }
    }
    Ok((at - first).abs() < PROBES as i64 * DENSE)
}

fn follow(
    conn: &Connection,
    caches: &mut Caches,
    filling: &mut Filling<'_>,
    mut candidates: Conjunction,
    span: Span,
) -> Step<()> {
    // The probes have moved the cursors on.
    candidates.rewind();
    let mut at = span.first();
    let mut budget = filling.rows_max;
    loop {
        match candidates.seek(conn, at, span.direction, &mut budget)? {
            Found::Paused(position) => {
                filling.pause(match span.direction {
                    Direction::Forward => (position - 1).max(0) as u64,
                    Direction::Backward => (position + 1) as u64,
                });
                return Ok(());
            }
            Found::At(position) if span.contains(position) => {
                if !filling.has_room() {
                    return Ok(());
                }
                filling.passed(position as u64);
                let found = decode::event(conn, caches, position)?;
                if let Some((tenant, event)) = found
                    && sees(conn, caches, &filling.read.tenants, tenant)?
                {
                    filling.offer(event);
                }
                at = match span.direction {
                    Direction::Forward => position + 1,
                    Direction::Backward => position - 1,
                };
            }
            _ => return Ok(()),
        }
    }
}

fn sees(conn: &Connection, caches: &mut Caches, tenants: &Tenants, tenant: i64) -> Step<bool> {
    match tenants {
        Tenants::All => Ok(true),
        Tenants::One(one) => Ok(caches.tenant_id(conn, &one.0)? == Some(tenant)),
    }
}

/// Looks at every event in order; a range of event times leaves out the blocks that have none of it. The block the log
/// is in has no times in the file yet: it is looked at.
fn scan(
    conn: &Connection,
    caches: &mut Caches,
    filling: &mut Filling<'_>,
    span: Span,
    head: i64,
) -> Step<()> {
    let names = wanted_names(conn, caches, filling)?;
    let Some((from, until)) = filling.read.filter.happened else {
        return scan_rows(conn, caches, filling, &span, names.as_ref()).map(drop);
    };
    let forward = span.direction == Direction::Forward;
    let mut zones = conn.prepare_cached(if forward { sql::NEXT_ZONE } else { sql::PREVIOUS_ZONE })?;
    let open = block(head);
    let mut rest = span;
    while rest.above.saturating_add(1) < rest.below {
        let at = block(rest.first());
        let times = (at, from.as_micros(), until.as_micros());
        let found = if at == open {
            Some(open)
        } else {
            let complete = zones.query_row(times, |row| row.get::<_, i64>(0)).optional()?;
            complete.or((forward && at < open).then_some(open))
        };
        let Some(found) = found else { break };
        let (low, high) = positions(found);
        let part =
            Span { above: rest.above.max(low - 1), below: rest.below.min(high), direction: rest.direction };
        if part.above.saturating_add(1) < part.below
            && scan_rows(conn, caches, filling, &part, names.as_ref())?.is_break()
        {
            break;
        }
        rest = rest.beyond(if forward { high - 1 } else { low });
    }
    Ok(())
}

/// Positions of a block of event times, as a power of two.
const BLOCK_BITS: i64 = 10;

/// The block of event times a position belongs to.
pub(crate) fn block(position: i64) -> i64 {
    position >> BLOCK_BITS
}

/// The first position of a block, and the first behind it.
pub(crate) fn positions(block: i64) -> (i64, i64) {
    (block << BLOCK_BITS, (block + 1) << BLOCK_BITS)
}

/// The ids of the names a filter wants, to pass over other events without decoding them.
fn wanted_names(
    conn: &Connection,
    caches: &mut Caches,
    filling: &Filling<'_>,
) -> Step<Option<(HashSet<i64>, i64)>> {
    let patterns = &filling.read.filter.names;
    if patterns.is_empty() || patterns.iter().any(Pattern::is_all) {
        return Ok(None);
    }
    let names = caches.names(conn)?;
    let newest = names.last().map_or(0, |name| name.id);
    let wanted = names.iter().filter(|name| patterns.iter().any(|pattern| pattern.matches(&name.name)));
    Ok(Some((wanted.map(|name| name.id).collect(), newest)))
}

fn scan_rows(
    conn: &Connection,
    caches: &mut Caches,
    filling: &mut Filling<'_>,
    span: &Span,
    names: Option<&(HashSet<i64>, i64)>,
) -> Step<ControlFlow<()>> {
    let one = match &filling.read.tenants {
        Tenants::All => None,
        Tenants::One(tenant) => caches.tenant_id(conn, &tenant.0)?,
    };
    let mut statement = conn.prepare_cached(match span.direction {
        Direction::Forward => sql::EVENTS_UP,
        Direction::Backward => sql::EVENTS_DOWN,
    })?;
    let mut rows = statement.query((span.above, span.below))?;
    while let Some(row) = rows.next()? {
        if !filling.has_room() {
            return Ok(ControlFlow::Break(()));
        }
        let raw = Raw::of(row)?;
        filling.passed(raw.position as u64);
        // A name newer than those compared is decided by the filter itself.
        if names.is_some_and(|(wanted, newest)| raw.name_id <= *newest && !wanted.contains(&raw.name_id)) {
            continue;
        }
        let (tenant, event) = raw.decode(conn, caches)?;
        if one.is_none_or(|one| one == tenant) {
            filling.offer(event);
        }
    }
    Ok(ControlFlow::Continue(()))
}
