//! Looking at dead letters, and deciding about them.

use std::{sync::Arc, time::Duration};

use super::{
    DeadLetter, DeadLetters, Decided, Decision, LetterAndEvent, LetterFigures, LetterFilter, LetterPage,
};
use crate::{Attribute, Clock, Envelope, Failure, Handled, OrFail, Text, Timestamp, cloudevents};

/// How many letters are read at once where all of them are.
const PAGE: usize = 500;

/// The attribute by which an exported event carries its record.
const RECORD: &str = "deadletter";

/// The dead letters of an application, wherever they are kept.
///
/// Listings show no payloads; [`get`](Self::get) and [`export`](Self::export) do.
#[derive(Clone)]
pub struct Letters {
    kept: Arc<dyn DeadLetters>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letters").finish_non_exhaustive()
    }
}

impl Letters {
    /// Those that are kept there.
    pub fn new(kept: Arc<dyn DeadLetters>, clock: Arc<dyn Clock>) -> Self {
        Self { kept, clock }
    }

    /// The handlers a filter is about.
    async fn of(&self, filter: &LetterFilter) -> Handled<Vec<Text>> {
        match &filter.handler {
            Some(handler) => Ok(vec![handler.clone()]),
            None => self.kept.handlers().await,
        }
    }

    /// The handlers that have, or had, dead letters, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn handlers(&self) -> Handled<Vec<Text>> {
        self.kept.handlers().await
    }

    /// A page of a handler's dead letters after an entry, without payloads, in the order in which they occurred.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn page(
        &self,
        handler: &str,
        filter: &LetterFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Handled<LetterPage> {
        let page = self.kept.page(handler, filter, after, limit).await?;
        Ok(LetterPage { letters: page.letters.into_iter().map(DeadLetter::listed).collect(), ..page })
    }

    /// The first `limit` of the wanted, without payloads, handler by handler.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn list(&self, filter: &LetterFilter, limit: usize) -> Handled<Vec<DeadLetter>> {
        let mut all = Vec::new();
        for handler in self.of(filter).await? {
            let mut after: Option<Text> = None;
            while all.len() < limit {
                let page = self.page(&handler, filter, after.as_deref(), PAGE.min(limit - all.len())).await?;
                all.extend(page.letters);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// How many there are: all of them, not only those a page would show.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn count(&self, filter: &LetterFilter) -> Handled<u64> {
        self.kept.count(filter).await
    }

    /// One, with all that is known of it, and its event as a replay would handle it, unless that is gone from the log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn get(&self, handler: &str, entry: &str) -> Handled<Option<LetterAndEvent>> {
        self.kept.get(handler, entry).await
    }

    /// Replaces the payload that a replay will handle. Who did it, when, and what was there before is kept.
    ///
    /// # Errors
    /// A payload that is no JSON, and a letter that is not there or is being replayed.
    pub async fn edit(
        &self,
        handler: &str,
        entry: &str,
        payload: impl Into<Text>,
        by: impl Into<Text>,
    ) -> Handled<Decided> {
        let decision = Decision::Edit { payload: payload.into(), by: by.into() };
        let decided = self.kept.decide(handler, vec![Text::from(entry)], decision).await?;
        match decided.refused.first() {
            Some(why) => Err(Failure::permanent(why.clone())),
            None => Ok(decided),
        }
    }

    /// Gives some of a handler's to that handler again, in the order in which they occurred, at most `per_second`.
    ///
    /// # Errors
    /// A rate that is none, or when it cannot be written.
    pub async fn replay(
        &self,
        handler: &str,
        entries: impl IntoIterator<Item = Text>,
        per_second: Option<f64>,
    ) -> Handled<Decided> {
        let decision = Decision::Replay { from: self.clock.now(), every: every(per_second)? };
        self.kept.decide(handler, sorted(entries), decision).await
    }

    /// Gives all that are wanted to the handlers that failed again, each handler's in the order in which they occurred,
    /// and at most `per_second` in all.
    ///
    /// # Errors
    /// A rate that is none, or when they cannot be read or written.
    pub async fn replay_all(&self, filter: &LetterFilter, per_second: Option<f64>) -> Handled<Decided> {
        let (begin, every) = (self.clock.now(), every(per_second)?);
        let mut sent = 0_u32;
        self.each(filter, |letters| {
            let from = begin.after(every.saturating_mul(sent));
            sent = sent.saturating_add(u32::try_from(letters).unwrap_or(u32::MAX));
            Decision::Replay { from, every }
        })
        .await
    }

    /// Forgets some of a handler's; what waited behind them goes on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn discard(&self, handler: &str, entries: impl IntoIterator<Item = Text>) -> Handled<Decided> {
        self.kept.decide(handler, sorted(entries), Decision::Discard).await
    }

    /// Forgets all that are wanted.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub async fn discard_all(&self, filter: &LetterFilter) -> Handled<Decided> {
        self.each(filter, |_| Decision::Discard).await
    }

    /// Forgets those of the wanted that were given up, the last time, longer than `age` ago.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub async fn purge(&self, filter: &LetterFilter, age: Duration) -> Handled<Decided> {
        self.discard_all(&self.older(filter, age)).await
    }

    /// The wanted that were given up, the last time, longer than `age` ago.
    pub fn older(&self, filter: &LetterFilter, age: Duration) -> LetterFilter {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.clock.now().as_micros().saturating_sub(age));
        let until = Some(filter.until.map_or(before, |until| until.min(before)));
        LetterFilter { until, ..filter.clone() }
    }

    /// Hands over the wanted, one line each: the event as a replay would handle it, as one CloudEvent in JSON, with the
    /// record in its attribute `deadletter`. Answers how many. Of an event that is gone from the log the line is an event
    /// without a payload.
    ///
    /// # Errors
    /// When they cannot be read, or `line` fails.
    pub async fn export(&self, filter: &LetterFilter, mut line: impl FnMut(&str) -> Handled) -> Handled<u64> {
        let mut many = 0;
        for handler in self.of(filter).await? {
            let mut after: Option<Text> = None;
            loop {
                let page = self.kept.page(&handler, filter, after.as_deref(), PAGE).await?;
                for letter in page.letters {
                    let Some((letter, event)) = self.kept.get(&handler, &letter.entry).await? else {
                        continue;
                    };
                    line(&exported(letter, event)?)?;
                    many += 1;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(many)
    }

    /// What is not there any more although nobody has decided so.
    pub fn figures(&self) -> LetterFigures {
        self.kept.figures()
    }

    /// Decides about all that are wanted, page by page.
    async fn each(
        &self,
        filter: &LetterFilter,
        mut decision: impl FnMut(usize) -> Decision + Send,
    ) -> Handled<Decided> {
        let mut all = Decided::default();
        for handler in self.of(filter).await? {
            let mut after: Option<Text> = None;
            loop {
                let page = self.kept.page(&handler, filter, after.as_deref(), PAGE).await?;
                let entries: Vec<Text> = page.letters.into_iter().map(|letter| letter.entry).collect();
                if !entries.is_empty() {
                    let decision = decision(entries.len());
                    all = all.and(self.kept.decide(&handler, entries, decision).await?);
                }
                after = page.next;
                if after.is_none() || all.waiting {
                    break;
                }
            }
        }
        Ok(all)
    }
}

fn exported(mut letter: DeadLetter, event: Option<Envelope>) -> Handled<String> {
    let event = match event {
        Some(event) => event,
        None => {
            let gone =
                Envelope::build(letter.name.clone()).id(letter.id.clone()).source(letter.source.clone());
            gone.payload(crate::PayloadForm::Absent, Vec::new()).finish().permanent()?
        }
    };
    // It is the line itself.
    letter.event = None;
    let record = serde_json::to_string(&letter).permanent()?;
    let event = event.edit().attribute(RECORD, Attribute::Text(record.into())).trusted();
    String::from_utf8(cloudevents::write(&event, None).permanent()?).permanent()
}

fn every(per_second: Option<f64>) -> Handled<Duration> {
    match per_second {
        None => Ok(Duration::ZERO),
        Some(rate) if rate > 0.0 && rate.is_finite() => Duration::try_from_secs_f64(1.0 / rate).permanent(),
        Some(rate) => Err(Failure::permanent(format!("a rate is more than 0 a second, not {rate}"))),
    }
}

fn sorted(entries: impl IntoIterator<Item = Text>) -> Vec<Text> {
    let mut entries: Vec<Text> = entries.into_iter().collect();
    entries.sort();
    entries.dedup();
    entries
}
