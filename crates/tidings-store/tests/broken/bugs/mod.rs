//! The bugs, by subject. Each is one thing an engine can get wrong.

mod append;
mod beats;
mod conditions;
mod documents;
mod due;
mod envelopes;
mod filters;
mod groups;
mod ids;
mod leases;
mod listing;
mod read;
mod restart;
mod tenants;

use crate::hooks::Hook;

/// A way to be wrong.
pub struct Bug {
    /// What is wrong, as a sentence.
    pub name: &'static str,
    /// What makes it so.
    pub hooks: &'static [Hook],
}

const fn bug(name: &'static str, hooks: &'static [Hook]) -> Bug {
    Bug { name, hooks }
}

/// All of them, by subject.
pub fn all() -> Vec<&'static Bug> {
    [
        append::BUGS,
        ids::BUGS,
        conditions::BUGS,
        read::BUGS,
        filters::BUGS,
        envelopes::BUGS,
        documents::BUGS,
        listing::BUGS,
        leases::BUGS,
        due::BUGS,
        tenants::BUGS,
        beats::BUGS,
        groups::BUGS,
        restart::BUGS,
    ]
    .into_iter()
    .flatten()
    .collect()
}
