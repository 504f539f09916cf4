//! The customers, and who fills the shelves: everything that comes into the shop from outside.
//!
//! What they do follows from the seed and a number, so a run that is taken up again does nothing twice: the same order
//! has the same id, and publishing the same id again changes nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use tidings::{App, Timestamp};
use tokio::sync::Semaphore;

use super::{
    dice::Dice,
    events::{Line, OrderPlaced, ShopOpened, StockReceived},
};

/// How many publishes are on their way at once: the store makes those that wait durable together.
const IN_FLIGHT: usize = 256;

const THINGS: [&str; 8] = ["mug", "lamp", "chair", "kettle", "clock", "vase", "rug", "stool"];
const COLOURS: [&str; 5] = ["red", "blue", "green", "white", "black"];

/// What happens from outside, in one demo.
#[derive(Debug, Clone)]
pub struct Customers {
    /// The demo.
    pub shop: Arc<ShopOpened>,
    /// When the shop opened; orders come one a millisecond from then on, by their own account.
    pub opened: Timestamp,
}

impl Customers {
    /// The order of this number.
    pub fn order(&self, order: u64) -> OrderPlaced {
        let mut dice = Dice::of(self.shop.seed, order);
        let (thing, colour) = (dice.below(THINGS.len() as u64), dice.below(COLOURS.len() as u64));
        let line = Line {
            item: format!("{}-{}", THINGS[thing as usize], COLOURS[colour as usize]),
            quantity: 1 + dice.below(3),
            price_cents: 495 + 1_000 * thing + 250 * colour,
        };
        OrderPlaced { order, customer: 1 + dice.below(10_000), line }
    }

    /// What arrives before the first order: of each item a little less than will be asked for.
    pub fn goods(&self) -> Vec<StockReceived> {
        let mut asked: BTreeMap<String, u64> = BTreeMap::new();
        for order in 1..=self.shop.orders {
            let line = self.order(order).line;
            *asked.entry(line.item).or_default() += line.quantity;
        }
        asked.into_iter().map(|(item, all)| StockReceived { item, quantity: all * 9 / 10 }).collect()
    }

    /// Fills the shelves, and waits until inventory knows.
    ///
    /// # Errors
    /// When something cannot be published.
    pub async fn deliver(&self, app: &App) -> Result<()> {
        for goods in self.goods() {
            let id = format!("goods-{}", goods.item);
            let publish = app.publish(goods).id(id).envelope(|envelope| envelope.time(self.opened));
            publish.await?.settled().await?;
        }
        Ok(())
    }

    /// Places the orders from number `first` on, many at once. Each takes one of the `places` in the shop, which whoever
    /// sees the order's end gives back.
    ///
    /// # Errors
    /// When an order cannot be published.
    pub async fn place(&self, app: &App, first: u64, places: &Semaphore) -> Result<()> {
        stream::iter(first..=self.shop.orders)
            .map(|number| async move {
                places.acquire().await?.forget();
                let time = self.opened.after(Duration::from_millis(number));
                let publish = app.publish(self.order(number)).id(format!("order-{number}"));
                publish
                    .envelope(|envelope| envelope.time(time))
                    .await
                    .with_context(|| format!("order {number}"))
            })
            .buffer_unordered(IN_FLIGHT)
            .try_for_each(|_| async { Ok(()) })
            .await
    }
}
