//! What a commit of a history does to documents, checkpoints and due rows.

use bytes::Bytes;
use tidings_core::{
    BlindChange, CheckpointMove, Commit, DocumentChange, DocumentKey, DocumentRead, DocumentWrite, DueChange,
    DueRow, Tenant, Text, Timestamp,
};

use super::{
    plan::{Plan, SUBSCRIPTIONS},
    queries::{IDS, QUEUES, STATES},
};

impl Plan {
    pub(super) async fn add_documents(&mut self, commit: &mut Commit) {
        while self.dice.chance(30) {
            let key = self.dice.document_key();
            let expected =
                if self.dice.chance(40) { Some(self.version(&commit.tenant, &key).await) } else { None };
            let (change, indexed) = (self.document_change(), self.dice.some(&["s", "n"], 2).into());
            commit.documents.push(DocumentWrite { key, change, indexed, expected });
        }
        while self.dice.chance(15) {
            let key = self.dice.document_key();
            let version = self.version(&commit.tenant, &key).await;
            commit.reads.push(DocumentRead { key, version });
        }
    }

    /// The version of a document; now and then an older one.
    async fn version(&mut self, of: &Tenant, key: &DocumentKey) -> u64 {
        let now = self.model.document(of, key).await.ok().flatten().map_or(0, |found| found.version);
        if self.dice.chance(80) { now } else { self.dice.below(now + 2) }
    }

    fn document_change(&mut self) -> DocumentChange {
        match self.dice.below(10) {
            0..5 => {
                let (state, n) = (self.dice.pick(&STATES), self.dice.around(3));
                DocumentChange::Put(Bytes::from(format!(r#"{{"s":{state:?},"n":{n}}}"#)))
            }
            5 => DocumentChange::Put(Bytes::from_static(b"[\"no object\"]")),
            6 | 7 => DocumentChange::Delete,
            _ => DocumentChange::Blind((0..1 + self.dice.below(3)).map(|_| self.blind_change()).collect()),
        }
    }

    fn blind_change(&mut self) -> BlindChange {
        let field = Text::from(self.dice.pick(&["n", "n", "n", "m", "s"]));
        match self.dice.below(4) {
            0 | 1 => BlindChange::Add { field, by: self.dice.around(3) },
            2 => BlindChange::Max { field, to: self.dice.around(3) },
            _ => {
                let state = self.dice.pick(&STATES);
                let patch = [format!(r#"{{"s":{state:?}}}"#), r#"{"n":null,"o":{"p":1}}"#.to_owned()];
                BlindChange::Merge(Bytes::from(patch[self.dice.index(2)].clone()))
            }
        }
    }

    pub(super) async fn checkpoint_move(&mut self) -> CheckpointMove {
        let name = self.dice.pick(&SUBSCRIPTIONS);
        let now = self.model.checkpoint(name).await.unwrap_or_default();
        let expected_revision =
            if self.dice.chance(80) { now.revision } else { self.dice.below(now.revision + 2) };
        let watermark = self.dice.below(50);
        let mut settled: Vec<u64> = (0..self.dice.below(4)).map(|at| watermark + 2 + at * 3).collect();
        if self.dice.chance(5) {
            settled.reverse();
        }
        CheckpointMove { name: Text::from(name), expected_revision, watermark, settled }
    }

    pub(super) fn due_change(&mut self, now: Timestamp) -> DueChange {
        let queue = Text::from(self.dice.pick(&QUEUES));
        let id = Text::from(self.dice.pick(&IDS));
        match self.dice.below(10) {
            0..6 => {
                let due = Timestamp::from_micros(now.as_micros() + self.dice.around(3) * 10_000_000);
                DueChange::Put(DueRow {
                    queue,
                    id,
                    due,
                    body: Bytes::from(format!("{}", self.dice.below(100))),
                })
            }
            6..8 => DueChange::Take { queue, id },
            _ => DueChange::Drop { queue, id },
        }
    }
}
