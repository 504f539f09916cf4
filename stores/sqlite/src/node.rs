//! A process's own lock file: a lease dies with the process that has it.
//!
//! A process that takes leases holds the kernel's lock on `<store>-node-<id>` as long as it lives; the lease's row names
//! that id. Whoever can lock the file of another, or does not find it, knows that nobody is behind it any more. The lock
//! belongs to the process and not to a handle: a store that is closed and opened again still has its leases.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::{Text, id};
use tidings_store::Error;

use crate::fault::io;

/// The locks of this process, by store.
static NODES: Mutex<Option<HashMap<PathBuf, Arc<Node>>>> = Mutex::new(None);

/// The lock of this process for the leases of a store.
///
/// # Errors
/// The lock file cannot be made.
pub(crate) fn of_process(store: &Path) -> Result<Arc<Node>, Error> {
    let mut nodes = NODES.lock();
    let nodes = nodes.get_or_insert_default();
    // A lock on a file that somebody has removed tells nobody anything.
    nodes.retain(|_, node| node.path.exists());
    if let Some(node) = nodes.get(store) {
        return Ok(node.clone());
    }
    let node = Arc::new(Node::new(store)?);
    nodes.insert(store.to_owned(), node.clone());
    Ok(node)
}

/// Lets the lock of this process go, because no lease depends on it.
pub(crate) fn not_needed(store: &Path) {
    if let Some(nodes) = NODES.lock().as_mut() {
        nodes.remove(store);
    }
}

/// The lock of a process; let go and removed when dropped.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: Text,
    path: PathBuf,
    _lock: File,
}

fn path_of(store: &Path, id: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-node-");
    name.push(id);
    name.into()
}

fn open(path: &Path, create: bool) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(create).open(path)
}

impl Node {
    /// Takes a lock under a new id. The file gets its name only when it is locked, so that nobody takes it for a dead
    /// one in between.
    fn new(store: &Path) -> Result<Self, Error> {
        let id = id::next();
        let path = path_of(store, &id);
        let mut early = path.as_os_str().to_owned();
        early.push(".new");
        let doing = "making a lock file for leases";
        let lock = open(early.as_ref(), true).map_err(|error| io(doing, &error))?;
        lock.lock().map_err(|error| io(doing, &error))?;
        std::fs::rename(&early, &path).map_err(|error| io(doing, &error))?;
        Ok(Self { id, path, _lock: lock })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A file that stays is found unlocked and removed by the next who opens the store.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether somebody is behind the node `id`.
pub(crate) fn is_alive(store: &Path, id: &str) -> bool {
    is_locked(&path_of(store, id))
}

/// A file that is there and cannot be locked has a living owner; so has one that cannot be looked at, to be safe.
fn is_locked(path: &Path) -> bool {
    match open(path, false) {
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        Ok(file) => !matches!(file.try_lock(), Ok(()) | Err(TryLockError::Error(_))),
    }
}

/// Removes the lock files that dead processes have left behind.
pub(crate) fn sweep(store: &Path) {
    let Some((folder, name)) = store.parent().zip(store.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let prefix = format!("{name}-node-");
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let left = entry.file_name();
        let Some(id) = left.to_str().and_then(|left| left.strip_prefix(&prefix)) else { continue };
        // One that has not got its name yet is being made by somebody.
        if !id.ends_with(".new") && !is_locked(&entry.path()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_alive_until_it_is_dropped_and_what_it_leaves_is_swept_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("store.db");
        let node = Node::new(&store).expect("a lock");
        assert!(is_alive(&store, &node.id));
        assert!(!is_alive(&store, "another"));
        let left = path_of(&store, "left-behind");
        File::create(&left).expect("a file");
        sweep(&store);
        assert!(!left.exists(), "an unlocked file is removed");
        assert!(is_alive(&store, &node.id), "a locked one is not");
        let id = node.id.clone();
        drop(node);
        assert!(!is_alive(&store, &id));
    }
}
