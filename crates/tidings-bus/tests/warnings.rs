//! What the bus suspects is logged as a warning. Alone in its process: what is logged where is decided for all threads
//! together.

mod common;

use std::time::Duration;

use common::{Diary, Log, Placed};
use tidings_bus::{Bus, LeakWatch, StatsOptions};

#[test]
fn what_is_suspected_is_logged_with_its_places_also_where_nobody_listens_to_notices() {
    let log = Diary::default();
    tracing::subscriber::with_default(Log { diary: log.clone(), level: tracing::Level::WARN }, || {
        let bus = Bus::builder().leak_watch(LeakWatch::limit(2)).build();
        bus.on(|_: &Placed| ()).forever();
        assert_eq!(log.take(), "");
        bus.on(|_: &Placed| ()).forever();
        let (line, text) = (line!() - 1, log.take());
        assert!(text.contains("perhaps been forgotten") && text.contains("topic=\"order.placed\""), "{text}");
        assert!(text.contains(&format!("warnings.rs:{line} (1)")), "{text}");
        bus.on(|_: &Placed| ()).forever();
        assert_eq!(log.take(), "");
        let slow = StatsOptions::new().slow(Duration::ZERO, Duration::MAX);
        let bus = Bus::builder().stats(slow).build();
        bus.on(|_: &Placed| ()).forever();
        bus.emit(&Placed(1));
        let (line, text) = (line!() - 2, log.take());
        assert!(text.contains("a listener is slow") && text.contains(&format!("line={line}")), "{text}");
        bus.emit(&Placed(1));
        assert_eq!(log.take(), "");
    });
}
