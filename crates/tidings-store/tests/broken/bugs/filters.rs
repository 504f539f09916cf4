//! Filters of reads.

use tidings_core::{Text, Timestamp, category};
use tidings_store::Filter;

use super::{Bug, bug};
use crate::hooks::Hook;

pub const BUGS: &[Bug] = &[
    bug("a filter's names are ignored", &[Hook::Ask(|_, read| read.filter.names.clear())]),
    bug("only the first pattern of a filter counts", &[Hook::Ask(|_, read| read.filter.names.truncate(1))]),
    bug("a filter's category is ignored", &[Hook::Ask(|_, read| read.filter.category = None)]),
    bug(
        "the category is the event's, not the stream's",
        &[
            Hook::Ask(|_, read| read.filter.category = None),
            Hook::Page(|_, read, page| {
                if let Some(wanted) = &read.filter.category {
                    page.events.retain(|event| category(event.envelope.name()) == &**wanted);
                }
            }),
        ],
    ),
    bug("a filter's tags are ignored", &[Hook::Ask(|_, read| read.filter.tags.clear())]),
    bug("only the first tag of a filter counts", &[Hook::Ask(|_, read| read.filter.tags.truncate(1))]),
    bug(
        "tags match by their beginning",
        &[
            Hook::Ask(|_, read| read.filter.tags.clear()),
            Hook::Page(|_, read, page| {
                page.events.retain(|event| {
                    let tags = event.envelope.tags();
                    read.filter.tags.iter().all(|wanted| tags.iter().any(|tag| tag.starts_with(&**wanted)))
                });
            }),
        ],
    ),
    bug("a filter's key is ignored", &[Hook::Ask(|_, read| read.filter.key = None)]),
    bug(
        "the key is what follows the stream's first dash",
        &[
            Hook::Ask(|_, read| read.filter.key = None),
            Hook::Page(|_, read, page| {
                if let Some(wanted) = &read.filter.key {
                    page.events.retain(|event| {
                        event.stream.split_once('-').is_some_and(|(_, key)| key == &**wanted)
                    });
                }
            }),
        ],
    ),
    bug("a filter's recorded range is ignored", &[Hook::Ask(|_, read| read.filter.recorded = None)]),
    bug(
        "a recorded range includes its end",
        &[Hook::Ask(|_, read| {
            read.filter.recorded = read.filter.recorded.map(|(from, until)| (from, after(until)));
        })],
    ),
    bug(
        "a recorded range excludes its beginning",
        &[Hook::Ask(|_, read| {
            read.filter.recorded = read.filter.recorded.map(|(from, until)| (after(from), until));
        })],
    ),
    bug("a filter's range of event times is ignored", &[Hook::Ask(|_, read| read.filter.happened = None)]),
    bug(
        "a range of event times includes its end",
        &[Hook::Ask(|_, read| {
            read.filter.happened = read.filter.happened.map(|(from, until)| (from, after(until)));
        })],
    ),
    bug(
        "an event without a time never happened",
        &[Hook::Page(|_, read, page| {
            if read.filter.happened.is_some() {
                page.events.retain(|event| event.envelope.time().is_some());
            }
        })],
    ),
    bug(
        "of a filter only the first thing given counts",
        &[Hook::Ask(|_, read| {
            let all = std::mem::take(&mut read.filter);
            read.filter = match all {
                Filter { names, .. } if !names.is_empty() => Filter { names, ..Filter::default() },
                Filter { category: category @ Some(_), .. } => Filter { category, ..Filter::default() },
                Filter { tags, .. } if !tags.is_empty() => Filter { tags, ..Filter::default() },
                Filter { key: key @ Some(_), .. } => Filter { key, ..Filter::default() },
                Filter { recorded: recorded @ Some(_), .. } => Filter { recorded, ..Filter::default() },
                rest => rest,
            };
        })],
    ),
    bug(
        "a filter's category is found without regard to case",
        &[Hook::Ask(|_, read| {
            read.filter.category =
                read.filter.category.as_ref().map(|category| Text::from(category.to_lowercase()));
        })],
    ),
];

fn after(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(1))
}
