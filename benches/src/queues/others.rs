//! Others' queues: three of each, polled by weight, unless they have a way of their own.

use std::{
    collections::VecDeque,
    hint::spin_loop,
    sync::{Arc, mpsc},
};

use disruptor::Producer as _;
use parking_lot::Mutex;

use super::{Consume, Ends, Publish, ROOM, Seen, Small, Weights};

/// What sends, as a closure.
struct Sends<F>(F);

impl<F: FnMut(usize, Small) + Send> Publish for Sends<F> {
    fn send(&mut self, level: usize, small: Small) {
        (self.0)(level, small);
    }
}

/// What serves, as a closure.
struct Serves<F>(F);

impl<F: FnMut(u64, &Seen) + Send> Consume for Serves<F> {
    fn serve(&mut self, count: u64, seen: &Seen) {
        (self.0)(count, seen);
    }
}

fn ends(
    send: impl FnMut(usize, Small) + Send + 'static,
    serve: impl FnMut(u64, &Seen) + Send + 'static,
) -> Ends {
    (Box::new(Sends(send)), Box::new(Serves(serve)))
}

/// Serves by polling three of a kind by weight, without ever sleeping.
fn polled(mut take: impl FnMut(usize) -> Option<Small> + Send + 'static) -> impl FnMut(u64, &Seen) + Send {
    let mut weights = Weights::default();
    move |count, seen| {
        for _ in 0..count {
            loop {
                match weights.next(&mut take) {
                    Some(small) => break seen.see(&small),
                    None => spin_loop(),
                }
            }
        }
    }
}

/// Tries until it is taken.
fn retry(mut small: Small, mut send: impl FnMut(Small) -> Result<(), Small>) {
    while let Err(back) = send(small) {
        small = back;
        spin_loop();
    }
}

/// Three single-producer rings: the limit.
pub fn rings() -> Ends {
    let (mut sends, mut takes): (Vec<_>, Vec<_>) = (0..3).map(|_| rtrb::RingBuffer::new(ROOM)).unzip();
    ends(
        move |level, small| {
            retry(small, |small| sends[level].push(small).map_err(|rtrb::PushError::Full(small)| small));
        },
        polled(move |level| takes[level].pop().ok()),
    )
}

/// A lock around three deques.
pub fn deques() -> Ends {
    let deques: Arc<Mutex<[VecDeque<Small>; 3]>> = Arc::default();
    let (sends, mut weights) = (deques.clone(), Weights::default());
    ends(
        move |level, small| {
            retry(small, |small| {
                let mut deques = sends.lock();
                if deques[level].len() >= ROOM {
                    return Err(small);
                }
                deques[level].push_back(small);
                Ok(())
            });
        },
        move |count, seen| {
            for _ in 0..count {
                loop {
                    let next = {
                        let mut deques = deques.lock();
                        weights.next(|level| deques[level].pop_front())
                    };
                    match next {
                        Some(small) => break seen.see(&small),
                        None => spin_loop(),
                    }
                }
            }
        },
    )
}

/// Three channels of crossbeam, polled.
pub fn crossbeam_polled() -> Ends {
    let (sends, takes): (Vec<_>, Vec<_>) = (0..3).map(|_| crossbeam_channel::bounded(ROOM)).unzip();
    ends(
        move |level, small| {
            let _ = sends[level].send(small);
        },
        polled(move |level| takes[level].try_recv().ok()),
    )
}

/// Three channels of crossbeam, chosen from by its `select!`.
pub fn crossbeam_selected() -> Ends {
    let (sends, takes): (Vec<_>, Vec<_>) = (0..3).map(|_| crossbeam_channel::bounded(ROOM)).unzip();
    ends(
        move |level, small| {
            let _ = sends[level].send(small);
        },
        move |count, seen| {
            for _ in 0..count {
                let next = crossbeam_channel::select! {
                    recv(takes[0]) -> small => small,
                    recv(takes[1]) -> small => small,
                    recv(takes[2]) -> small => small,
                };
                if let Ok(small) = next {
                    seen.see(&small);
                }
            }
        },
    )
}

/// Three channels of kanal, polled.
pub fn kanal() -> Ends {
    let (sends, takes): (Vec<_>, Vec<_>) = (0..3).map(|_| kanal::bounded(ROOM)).unzip();
    ends(
        move |level, small| {
            let _ = sends[level].send(small);
        },
        polled(move |level| takes[level].try_recv().ok().flatten()),
    )
}

/// Three channels of flume, polled.
pub fn flume() -> Ends {
    let (sends, takes): (Vec<_>, Vec<_>) = (0..3).map(|_| flume::bounded(ROOM)).unzip();
    ends(
        move |level, small| {
            let _ = sends[level].send(small);
        },
        polled(move |level| takes[level].try_recv().ok()),
    )
}

/// Three channels of tokio, chosen from by its `select!`.
pub fn tokio_mpsc() -> Ends {
    let (sends, takes): (Vec<_>, Vec<_>) = (0..3).map(|_| tokio::sync::mpsc::channel(ROOM)).unzip();
    let mut takes: Vec<tokio::sync::mpsc::Receiver<Small>> = takes;
    ends(
        move |level, small| {
            let _ = sends[level].blocking_send(small);
        },
        move |count, seen| {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
            let [critical, normal, low] = &mut takes[..] else { return };
            runtime.block_on(async {
                for _ in 0..count {
                    let next = tokio::select! {
                        biased;
                        small = critical.recv() => small,
                        small = normal.recv() => small,
                        small = low.recv() => small,
                    };
                    if let Some(small) = next {
                        seen.see(&small);
                    }
                }
            });
        },
    )
}

/// One channel of the standard library, without priorities: the least that sleeps.
pub fn std_mpsc() -> Ends {
    let (send, take) = mpsc::sync_channel::<Small>(ROOM);
    ends(
        move |_, small| {
            let _ = send.send(small);
        },
        move |count, seen| {
            for _ in 0..count {
                if let Ok(small) = take.recv() {
                    seen.see(&small);
                }
            }
        },
    )
}

/// The disruptor: one ring without priorities, polled.
pub fn disruptor() -> Ends {
    let builder = disruptor::build_single_producer(ROOM, || Small::new(0, 0), disruptor::BusySpin);
    let (mut poller, builder) = builder.new_event_poller();
    let mut producer = builder.build();
    ends(
        move |_, small| producer.publish(|slot| *slot = small),
        move |count, seen| {
            let mut served = 0;
            while served < count {
                match poller.poll() {
                    Ok(mut events) => {
                        for small in &mut events {
                            seen.see(small);
                            served += 1;
                        }
                    }
                    Err(_) => spin_loop(),
                }
            }
        },
    )
}
