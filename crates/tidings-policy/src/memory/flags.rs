//! Flags in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidings_core::{Flag, FlagAsk, Flags, Pattern, Text, Timestamp};

/// How many changes are remembered.
const CHANGES_MAX: usize = 1_000;

/// How many flags may be set.
const FLAGS_MAX: usize = 10_000;

/// What a flag is set on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlagTarget {
    /// A name that policies ask for.
    Name(Text),
    /// An event's name.
    Event(Text),
    /// A handler.
    Handler(Text),
    /// All events of a pattern over topics.
    Topic(Text),
}

impl From<&str> for FlagTarget {
    /// As it is written: `event:order.placed`, `handler:orders/charge`, `topic:order.**`, and anything else a name.
    fn from(text: &str) -> Self {
        match text.split_once(':') {
            Some(("event", name)) => Self::Event(name.into()),
            Some(("handler", name)) => Self::Handler(name.into()),
            Some(("topic", pattern)) => Self::Topic(pattern.into()),
            _ => Self::Name(text.into()),
        }
    }
}

impl fmt::Display for FlagTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Event(name) => write!(f, "event:{name}"),
            Self::Handler(name) => write!(f, "handler:{name}"),
            Self::Topic(pattern) => write!(f, "topic:{pattern}"),
        }
    }
}

/// Who changed a flag, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagChange {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Text,
    /// Which.
    pub target: FlagTarget,
    /// What it was before; nothing is on.
    pub before: Option<Flag>,
    /// What it is now.
    pub after: Option<Flag>,
}

/// Flags that are changed while the program runs. Reading one takes no lock.
///
/// ```
/// use tidings_core::{Flag, FlagAsk, Flags, Timestamp};
/// use tidings_policy::{FlagTarget, MemoryFlags};
/// let flags = MemoryFlags::new();
/// let ask = FlagAsk { flag: None, event: "order.placed", handler: "mail/receipt", key: "7" };
/// assert_eq!(flags.off(&ask), None, "what nobody has set is on");
/// flags.set(FlagTarget::Topic("order.**".into()), Some(Flag::Off), "ann", Timestamp::from_millis(0))?;
/// assert_eq!(flags.off(&ask).as_deref(), Some("topic:order.**"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryFlags {
    /// Whether any is set that is not on.
    any: AtomicBool,
    table: ArcSwap<Table>,
    changes: Mutex<VecDeque<FlagChange>>,
}

#[derive(Debug, Clone, Default)]
struct Table {
    flags: BTreeMap<FlagTarget, Entry>,
    topics: Vec<(Pattern, Entry)>,
}

#[derive(Debug, Clone)]
struct Entry {
    flag: Flag,
    /// The target as text: what a percentage is divided by, and what is told.
    name: Text,
}

impl MemoryFlags {
    /// None set: everything is on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a flag, or with `None` forgets it, and remembers who did.
    ///
    /// # Errors
    /// A percentage that is none, a pattern that is none, or more flags than may be set (10,000).
    pub fn set(
        &self,
        target: FlagTarget,
        flag: Option<Flag>,
        by: impl Into<Text>,
        at: Timestamp,
    ) -> Result<(), String> {
        if let Some(fault) = flag.and_then(|flag| flag.fault()) {
            return Err(format!("{target}: {fault}"));
        }
        if let FlagTarget::Topic(pattern) = &target {
            Pattern::parse(pattern).map_err(|error| format!("{target}: {error}"))?;
        }
        let mut changes = self.changes.lock();
        let mut table = Table::clone(&self.table.load());
        let entry = flag.map(|flag| Entry { flag, name: target.to_string().into() });
        let before = match entry {
            Some(entry) => table.flags.insert(target.clone(), entry),
            None => table.flags.remove(&target),
        };
        if table.flags.len() > FLAGS_MAX {
            return Err(format!("{target}: there are {FLAGS_MAX} flags already"));
        }
        let topics = table.flags.iter().filter_map(|(target, entry)| match target {
            FlagTarget::Topic(pattern) => Some((Pattern::parse(pattern).ok()?, entry.clone())),
            FlagTarget::Name(_) | FlagTarget::Event(_) | FlagTarget::Handler(_) => None,
        });
        table.topics = topics.collect();
        let any = table.flags.values().any(|entry| entry.flag != Flag::On);
        self.table.store(table.into());
        self.any.store(any, Ordering::Release);
        if changes.len() == CHANGES_MAX {
            changes.pop_front();
        }
        let before = before.map(|entry| entry.flag);
        changes.push_back(FlagChange { at, by: by.into(), target, before, after: flag });
        Ok(())
    }

    /// All that are set.
    pub fn all(&self) -> Vec<(FlagTarget, Flag)> {
        let table = self.table.load();
        table.flags.iter().map(|(target, entry)| (target.clone(), entry.flag)).collect()
    }

    /// The latest changes, the oldest first; at most 1,000.
    pub fn changes(&self) -> Vec<FlagChange> {
        self.changes.lock().iter().cloned().collect()
    }
}

impl Flags for MemoryFlags {
    #[inline]
    fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    #[inline]
    fn off(&self, ask: &FlagAsk<'_>) -> Option<Text> {
        if !self.any() {
            return None;
        }
        let table = self.table.load();
        let named = ask.flag.map(|flag| FlagTarget::Name(flag.into()));
        let targets =
            [named, Some(FlagTarget::Event(ask.event.into())), Some(FlagTarget::Handler(ask.handler.into()))];
        let exact = targets.into_iter().flatten().filter_map(|target| table.flags.get(&target));
        let topics = table.topics.iter().filter(|(pattern, _)| pattern.matches(ask.event));
        let mut set = exact.chain(topics.map(|(_, entry)| entry));
        set.find(|entry| !entry.flag.is_on(&entry.name, ask.key)).map(|entry| entry.name.clone())
    }
}
