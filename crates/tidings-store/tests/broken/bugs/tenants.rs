//! Tenants.

use tidings_core::{Tenant, Text};
use tidings_store::{DocumentQuery, Read, Tenants};

use super::{Bug, bug};
use crate::hooks::{Hook, now};

pub const BUGS: &[Bug] = &[
    bug("the tenant of a commit is ignored", &[Hook::Commit(|commit| commit.tenant = Tenant::default())]),
    bug(
        "a stream's version is that of the tenant without a name",
        &[Hook::StreamVersion(|inside, _, stream| inside.stream_version(&Tenant::default(), stream))],
    ),
    bug(
        "the log shows all tenants' events",
        &[Hook::Ask(|_, read| {
            if read.stream.is_none() {
                read.tenants = Tenants::All;
            }
        })],
    ),
    bug(
        "nobody sees all tenants' events",
        &[Hook::Ask(|_, read| {
            if read.tenants == Tenants::All && read.stream.is_none() {
                read.tenants = Tenants::default();
            }
        })],
    ),
    bug(
        "finding by id sees all tenants",
        &[Hook::Find(|inside, of, source, id| {
            let log = now(inside.store().read(&Read::after(0).all_tenants())).ok()?.events;
            let other = || {
                log.into_iter()
                    .find(|event| &**event.envelope.source() == source && &**event.envelope.id() == id)
            };
            inside.find(of, source, id).or_else(other)
        })],
    ),
    bug("first matches are of the tenant without a name", &[Hook::Match(|of, _, _| *of = Tenant::default())]),
    bug(
        "documents are looked for with any tenant",
        &[Hook::Document(|inside, of, key| {
            let anybody = ["", "acme", "other"].map(|name| Tenant(Text::from(name)));
            inside.document(of, key).or_else(|| anybody.iter().find_map(|of| inside.document(of, key)))
        })],
    ),
    bug(
        "documents of all tenants are listed",
        &[Hook::Listed(|inside, query, found| {
            for name in ["acme", "other"].map(|name| Tenant(Text::from(name))) {
                if query.tenant != name {
                    let more = DocumentQuery { tenant: name, ..query.clone() };
                    found.extend(now(inside.store().documents(&more)).unwrap_or_default());
                }
            }
        })],
    ),
    bug("due rows of all tenants are listed", &[Hook::AskDue(|of, _, _, _| *of = Tenants::All)]),
    bug(
        "blobs are looked for with any tenant",
        &[Hook::Blob(|inside, of, key| {
            let blob = |of: &Tenant| now(inside.store().blob(of, key)).ok().flatten();
            let anybody = ["", "acme", "other"].map(|name| Tenant(Text::from(name)));
            blob(of).or_else(|| anybody.iter().find_map(blob))
        })],
    ),
    bug(
        "each tenant has its own checkpoints",
        &[Hook::Commit(|commit| {
            for moved in &mut commit.checkpoints {
                if !commit.tenant.0.is_empty() {
                    moved.name = Text::from(format!("{} of {}", moved.name, commit.tenant.0));
                }
            }
        })],
    ),
];
