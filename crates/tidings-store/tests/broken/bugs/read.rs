//! Reads, pages, recorded time.

use tidings_core::{Clock, Timestamp};
use tidings_store::{Direction, Filter, Page, Read, Tenants};

use super::{Bug, bug};
use crate::hooks::{Hook, Inside, now};

pub const BUGS: &[Bug] = &[
    bug(
        "a stream read forwards includes where it begins",
        &[Hook::Ask(|_, read| {
            if read.stream.is_some() && read.direction == Direction::Forward {
                read.from = read.from.saturating_sub(1);
            }
        })],
    ),
    bug(
        "a stream read backwards skips one",
        &[Hook::Ask(|_, read| {
            if read.stream.is_some() && read.direction == Direction::Backward && read.from < u64::MAX {
                read.from = read.from.saturating_sub(1);
            }
        })],
    ),
    bug(
        "the log read forwards skips one",
        &[Hook::Ask(|_, read| {
            if read.stream.is_none() && read.direction == Direction::Forward && read.from > 0 {
                read.from = read.from.saturating_add(1);
            }
        })],
    ),
    bug(
        "the log read backwards includes where it begins",
        &[Hook::Ask(|_, read| {
            if read.stream.is_none() && read.direction == Direction::Backward {
                read.from = read.from.saturating_add(1);
            }
        })],
    ),
    bug(
        "a page read backwards comes oldest first",
        &[Hook::Page(|_, read, page| {
            if read.direction == Direction::Backward {
                page.events.reverse();
            }
        })],
    ),
    bug(
        "a page loses its last event",
        &[Hook::Page(|_, _, page| {
            if page.events.len() > 1 {
                page.events.pop();
            }
        })],
    ),
    bug(
        "a read behind the end begins again",
        &[Hook::Ask(|inside, read| {
            if read.stream.is_none() && read.direction == Direction::Forward && read.from > inside.head() {
                read.from = 0;
            }
        })],
    ),
    bug(
        "a stream that is not there is the whole log",
        &[Hook::Ask(|inside, read| {
            if let (Some(stream), Tenants::One(of)) = (&read.stream, &read.tenants)
                && inside.stream_version(of, stream) == 0
            {
                read.stream = None;
            }
        })],
    ),
    bug(
        "a stream of all tenants is the stream of none",
        &[Hook::Ask(|_, read| {
            if read.stream.is_some() && read.tenants == Tenants::All {
                read.tenants = Tenants::default();
            }
        })],
    ),
    bug(
        "an event found by id has its position for a version",
        &[Hook::Find(|inside, of, source, id| {
            inside.find(of, source, id).map(|mut event| {
                event.version = event.position;
                event
            })
        })],
    ),
    bug("limits of pages are ignored", &[Hook::Ask(|_, read| read.limit = usize::MAX)]),
    bug(
        "a limit of nothing gives nothing",
        &[Hook::Page(|_, read, page| {
            if read.limit == 0 {
                *page = Page { next: read.from, ..Page::default() };
            }
        })],
    ),
    bug("a page is as long as it is asked for", &[Hook::Page(unbounded)]),
    bug(
        "a full page is the end",
        &[Hook::Page(|_, read, page| {
            page.end |= page.events.len() == read.limit;
        })],
    ),
    bug(
        "after the end a reader is one too far",
        &[Hook::Page(|_, read, page| {
            if page.end && read.direction == Direction::Forward {
                page.next = page.next.saturating_add(1);
            }
        })],
    ),
    bug("reading backwards counts from the newest", &[Hook::Ask(from_the_newest)]),
    bug(
        "a page looks at a thousand events and gives up",
        &[Hook::Page(|_, read, page| {
            if !read.filter.is_empty()
                && read.direction == Direction::Forward
                && read.from.saturating_add(1_000) < page.next
            {
                page.events.retain(|event| event.position <= read.from.saturating_add(1_000));
                page.end = true;
            }
        })],
    ),
    bug(
        "recorded time follows the clock back",
        &[
            Hook::Answer(|inside, _, answer| {
                if let Ok(applied) = answer
                    && !applied.repeated
                {
                    for position in applied.first..=applied.last {
                        let now = inside.clock.now().as_micros();
                        inside.number(&format!("recorded {position}"), |at| *at = now);
                    }
                }
            }),
            Hook::Event(|inside, event| {
                let at = inside.number(&format!("recorded {}", event.position), |at| *at);
                event.recorded = Timestamp::from_micros(at);
            }),
        ],
    ),
    bug(
        "recorded time is in milliseconds",
        &[Hook::Event(|_, event| {
            event.recorded = Timestamp::from_millis(event.recorded.as_millis());
        })],
    ),
    bug(
        "every call moves recorded time",
        &[
            Hook::Answer(|inside, _, answer| {
                let now = inside.clock.now().as_micros();
                let latest = inside.number("latest", |latest| {
                    *latest = now.max(*latest);
                    *latest
                });
                if let Ok(applied) = answer
                    && !applied.repeated
                {
                    for position in applied.first..=applied.last {
                        inside.number(&format!("recorded {position}"), |at| *at = latest);
                    }
                }
            }),
            Hook::Event(|inside, event| {
                let at = inside.number(&format!("recorded {}", event.position), |at| *at);
                event.recorded = Timestamp::from_micros(at);
            }),
        ],
    ),
    bug("a closed store still answers reads", &[Hook::ReadsOn]),
    bug("a store cannot be closed twice", &[Hook::ClosesOnce]),
];

fn unbounded(inside: &Inside, read: &Read, page: &mut Page) {
    let mut next = read.clone();
    while !page.end && page.events.len() < read.limit {
        next.from = page.next;
        next.limit = read.limit - page.events.len();
        let Ok(more) = now(inside.store().read(&next)) else { return };
        page.events.extend(more.events);
        (page.next, page.end) = (more.next, more.end);
    }
}

fn from_the_newest(inside: &Inside, read: &mut Read) {
    if read.direction == Direction::Forward || read.filter != Filter::default() {
        return;
    }
    let head = i64::try_from(inside.head()).unwrap_or(0);
    if read.from == u64::MAX {
        inside.number("head", |at| *at = head);
        return;
    }
    let since = inside.number("head", |at| if *at == 0 { 0 } else { head - *at });
    read.from = read.from.saturating_add(since.unsigned_abs());
}
