//! Positions that may answer a question, found by index.
//!
//! A [`List`] is one run of an index in order of positions; a [`Union`] several of them; a [`Conjunction`] what is in
//! all of its unions, found by letting each jump to where the others are. What comes out is a candidate: whoever asks
//! compares the event itself.

use std::collections::VecDeque;

use rusqlite::Connection;
use tidings_store::Direction;

use crate::{caches::stream_head, fault::Step, sql};

/// What a list runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// The positions of a term.
    Term(i64),
    /// The positions of a stream.
    Stream(i64),
}

const CHUNK_FIRST: usize = 16;
const CHUNK_MAX: usize = 1_024;

#[derive(Debug)]
struct Cursor {
    list: List,
    buffer: VecDeque<i64>,
    /// The stream's version that the last position read belongs to.
    version: Option<i64>,
    exhausted: bool,
    chunk: usize,
}

impl Cursor {
    fn over(list: List) -> Self {
        Self { list, buffer: VecDeque::new(), version: None, exhausted: false, chunk: CHUNK_FIRST }
    }

    /// The first position at or beyond `at`.
    fn seek(&mut self, conn: &Connection, at: i64, direction: Direction) -> Step<Option<i64>> {
        while let Some(first) = self.buffer.front() {
            if reaches(*first, at, direction) {
                return Ok(Some(*first));
            }
            self.buffer.pop_front();
        }
        if self.exhausted {
            return Ok(None);
        }
        match self.list {
            List::Term(term) => self.fill_term(conn, term, at, direction)?,
            List::Stream(stream) => self.fill_stream(conn, stream, at, direction)?,
        }
        self.chunk = (self.chunk * 4).min(CHUNK_MAX);
        Ok(self.buffer.front().copied())
    }

    fn fill_term(&mut self, conn: &Connection, term: i64, at: i64, direction: Direction) -> Step<()> {
        let mut statement = conn.prepare_cached(match direction {
            Direction::Forward => sql::TERM_UP,
            Direction::Backward => sql::TERM_DOWN,
        })?;
        let mut rows = statement.query((term, at, self.chunk as i64))?;
        while let Some(row) = rows.next()? {
            self.buffer.push_back(row.get(0)?);
        }
        self.exhausted = self.buffer.len() < self.chunk;
        Ok(())
    }

    /// A stream is indexed by version, which grows with the position: the version at `at` is found by bisection, between
    /// what was read last and the end.
    fn fill_stream(&mut self, conn: &Connection, stream: i64, at: i64, direction: Direction) -> Step<()> {
        let up = direction == Direction::Forward;
        let head = stream_head(conn, stream)?;
        // The versions that may be the one looked for, both included.
        let (mut low, mut high) = match (self.version, up) {
            (Some(last), true) => (last + 1, head + 1),
            (Some(last), false) => (0, last - 1),
            (None, true) => (1, head + 1),
            (None, false) => (0, head),
        };
        while low < high {
            let middle = if up { low + (high - low) / 2 } else { low + (high - low + 1) / 2 };
            let reached = match version_at(conn, stream, middle, direction)? {
                Some((_, position)) => reaches(position, at, direction),
                None => true,
            };
            match (up, reached) {
                (true, true) => high = middle,
                (true, false) => low = middle + 1,
                (false, true) => low = middle,
                (false, false) => high = middle - 1,
            }
        }
        let mut statement = conn.prepare_cached(if up { sql::VERSIONS_UP } else { sql::VERSIONS_DOWN })?;
        let mut rows = statement.query((stream, low, self.chunk as i64))?;
        while let Some(row) = rows.next()? {
            self.version = Some(row.get(0)?);
            self.buffer.push_back(row.get(1)?);
        }
        self.exhausted = self.buffer.len() < self.chunk;
        Ok(())
    }
}

fn version_at(
    conn: &Connection,
    stream: i64,
    version: i64,
    direction: Direction,
) -> Step<Option<(i64, i64)>> {
    use rusqlite::OptionalExtension as _;
    let mut statement = conn.prepare_cached(match direction {
        Direction::Forward => sql::VERSIONS_UP,
        Direction::Backward => sql::VERSIONS_DOWN,
    })?;
    Ok(statement.query_row((stream, version, 1), |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn reaches(position: i64, at: i64, direction: Direction) -> bool {
    match direction {
        Direction::Forward => position >= at,
        Direction::Backward => position <= at,
    }
}

/// Positions in any of several lists.
#[derive(Debug)]
pub(crate) struct Union(Vec<Cursor>);

impl Union {
    pub(crate) fn of(lists: impl IntoIterator<Item = List>) -> Self {
        Self(lists.into_iter().map(Cursor::over).collect())
    }

    fn seek(&mut self, conn: &Connection, at: i64, direction: Direction) -> Step<Option<i64>> {
        let mut nearest = None;
        for cursor in &mut self.0 {
            if let Some(position) = cursor.seek(conn, at, direction)? {
                let nearer = nearest.is_none_or(|other| reaches(other, position, direction));
                nearest = if nearer { Some(position) } else { nearest };
            }
        }
        Ok(nearest)
    }
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A position that is in all unions.
    At(i64),
    /// Nothing up to here, and the work allowed is used up.
    Paused(i64),
    /// Nothing more.
    Nothing,
}

/// Positions in all of several unions.
#[derive(Debug)]
pub(crate) struct Conjunction(pub(crate) Vec<Union>);

impl Conjunction {
    /// Begins again, so that it can be asked for positions it has passed.
    pub(crate) fn rewind(&mut self) {
        for cursor in self.0.iter_mut().flat_map(|union| &mut union.0) {
            *cursor = Cursor::over(cursor.list);
        }
    }

    /// The first position at or beyond `at` that is in all unions; each jump costs one of `budget`.
    pub(crate) fn seek(
        &mut self,
        conn: &Connection,
        mut at: i64,
        direction: Direction,
        budget: &mut usize,
    ) -> Step<Found> {
        loop {
            if *budget == 0 {
                return Ok(Found::Paused(at));
            }
            *budget -= 1;
            let asked = at;
            for union in &mut self.0 {
                match union.seek(conn, at, direction)? {
                    None => return Ok(Found::Nothing),
                    Some(position) => at = position,
                }
            }
            // Nobody had to jump, or there is nobody else who has not been asked there.
            if at == asked || self.0.len() == 1 {
                return Ok(Found::At(at));
            }
        }
    }
}
