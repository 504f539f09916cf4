//! Every store gives back what it has acknowledged, and is found out when it does not.

use std::sync::Arc;

use anyhow::Result;

use super::*;
use crate::{
    audit::audit,
    workload::{self, Sample},
};

async fn filled(peer: &Peer, folder: &Path) -> Result<(Box<dyn Log>, Vec<Arc<Sample>>)> {
    let samples = workload::sequence(600, 40)?;
    let log = peer.open(folder, 4).await?;
    let (singles, rest) = samples.split_at(50);
    for sample in singles {
        log.append(vec![sample.clone()]).await?;
    }
    log.append(rest.to_vec()).await?;
    Ok((log, samples))
}

async fn check(peer: &Peer) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (log, samples) = filled(peer, folder.path()).await?;
    audit(&*log, samples.iter()).await?;
    assert!(audit(&*log, samples.iter().skip(1)).await.is_err(), "{}: one too many", peer.name());
    let mut versions = Vec::new();
    log.read_stream(5, &mut |seen: Seen<'_>| versions.push(seen.version)).await?;
    assert_eq!(versions, (1..=15).collect::<Vec<_>>(), "{}", peer.name());
    let again = log.append(samples.iter().take(1).cloned().collect()).await;
    let is_checked = !peer.promise().ids.starts_with("not checked");
    assert_eq!(again.is_err(), is_checked, "{}: {again:?}", peer.name());
    let bytes = log.close().await?;
    assert!(bytes > samples.len() as u64 * 200, "{}: {bytes} bytes", peer.name());
    Ok(())
}

#[test]
fn stores_in_the_process_keep_what_they_acknowledge_and_check_what_they_say_they_check() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for peer in [Peer::Tidings, Peer::RawLog, Peer::HandSqlite, Peer::Fjall, Peer::Redb] {
        runtime.block_on(check(&peer)).unwrap_or_else(|error| panic!("{}: {error:#}", peer.name()));
    }
}

#[test]
fn postgres_keeps_what_it_acknowledges_where_it_is_installed() {
    let place = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("open");
    let server = match Server::start(place.path()) {
        Ok(server) => server,
        Err(error) if error.to_string() == ABSENT => return,
        Err(error) => panic!("{error:#}"),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(check(&Peer::Postgres(Arc::new(server)))).expect("keeps its word");
}
