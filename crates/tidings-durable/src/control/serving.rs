//! A running subscription carries out what operators ask for.

use super::*;

/// Looks for requests at a running subscription, and carries them out.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let mut beats = shared.store.beats();
    let mut taken_up = false;
    loop {
        beats.borrow_and_update();
        let mut done = Ok(());
        if !taken_up {
            done = take_up(&shared).await;
            taken_up = done.is_ok();
        }
        if let Err(error) = done.and(requests(&shared).await) {
            tracing::warn!(subscription = %shared.name, %error, "requests of operators wait");
        }
        // Looking is cheap, but not free: at most ten times a second.
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.clock.sleep(Duration::from_millis(100)) => {}
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = beats.changed() => if changed.is_err() { return },
        }
    }
}

async fn requests(shared: &Shared) -> Result<(), Error> {
    let query =
        DocumentQuery { tenant: shared.config.tenant.clone(), ..DocumentQuery::all(namespace(&shared.name)) };
    for document in shared.store.documents(&query).await? {
        let Ok(request) = serde_json::from_slice::<Request>(&document.value) else { continue };
        if request.answer.is_some() {
            continue;
        }
        let answer = carried(shared, &request.verb).await?;
        tracing::info!(subscription = %shared.name, verb = ?request.verb, ?answer, "an operator's request was carried out");
        put(&shared.store, &shared.config, &document.key, Some(&Request { answer: Some(answer), ..request }))
            .await?;
    }
    Ok(())
}

async fn carried(shared: &Shared, verb: &Verb) -> Result<Answer, Error> {
    let epoch = shared.book.lock().epoch();
    let context = Context { store: &shared.store, config: &shared.config, name: &shared.name, epoch };
    match verb {
        Verb::Pause | Verb::Resume => {
            let paused = *verb == Verb::Pause;
            let answer = context.pause(paused).await?;
            shared.paused.send_replace(paused);
            Ok(answer)
        }
        Verb::Reset { to } => {
            let answer = context.reset(*to).await?;
            shared.lost.cancel();
            Ok(answer)
        }
        Verb::Replay { .. } | Verb::Discard { .. } | Verb::Edit { .. } => {
            let mut all = Answer::default();
            for (verb, positions) in chunks(verb, shared.clock.now()) {
                all.add(decided(shared, &context, &verb, &positions).await?);
            }
            Ok(all)
        }
    }
}

/// Decides about dead letters; the answer is given when the decision is in the store.
async fn decided(
    shared: &Shared,
    context: &Context<'_>,
    verb: &Verb,
    positions: &[Position],
) -> Result<Answer, Error> {
    for _ in 0..TRIES {
        let before = shared.book.lock().revision();
        let letters = context.letters(verb, positions, shared.clock.now()).await?;
        let (answer, kept) = {
            let mut book = shared.book.lock();
            if book.revision() != before {
                // A letter that was read may be gone by now.
                continue;
            }
            let answer = on_letters(&mut book, verb, letters, shared.clock.now());
            shared.blocked.store(book.rows.len(), std::sync::atomic::Ordering::SeqCst);
            if !book.is_dirty() {
                return Ok(answer);
            }
            (answer, book.when_kept())
        };
        shared.press();
        shared.rows.notify_one();
        tokio::select! {
            kept = kept => if kept == Ok(true) { return Ok(answer) },
            () = shared.leave.cancelled() => return Err(Error::Closed),
        }
    }
    Err(Error::Locked("the subscription commits too often to decide in between; it is tried again".into()))
}

/// What an earlier version of this program did not know, and this one knows, is taken up again.
async fn take_up(shared: &Shared) -> Result<(), Error> {
    let Some(known) = shared.event else { return Ok(()) };
    let mut query = DocumentQuery::all(dead_namespace(&shared.name));
    query.tenant = shared.config.tenant.clone();
    query.field = Some(("reason".into(), Reason::Newer.to_string().into()));
    let mut positions = Vec::new();
    loop {
        let page = shared.store.documents(&query).await?;
        let full = page.len() == query.limit;
        for document in page {
            query.after = Some(document.key.id);
            let Ok(letter) = serde_json::from_slice::<DeadLetter>(&document.value) else { continue };
            let found = shared.store.find(&shared.config.tenant, &letter.source, &letter.id).await?;
            if found.is_some_and(|event| !newer(known, &event.envelope)) {
                positions.push(letter.position);
            }
        }
        if !full {
            break;
        }
    }
    if !positions.is_empty() {
        let answer = carried(shared, &Verb::Replay { positions, pace: None }).await?;
        tracing::info!(subscription = %shared.name, ?answer, "events that were too new are taken up");
    }
    Ok(())
}
