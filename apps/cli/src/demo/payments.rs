//! Payments: asks the customer's bank for the money.
//!
//! It hears that goods are put aside and says whether they are paid. Two things can go wrong, and they are not the same:
//! a bank that says no has answered, which is an event; a bank that does not answer is a failure, and is asked again.

use std::time::Duration;

use tidings::{Cx, Handled, Module, On, OrFail, Retry, Subscribe, View, WithDependency};

use super::events::{PaymentCharged, PaymentDeclined, StockReserved};
use super::shop::killed_on_purpose;

/// The till: one document, `total`.
pub const TILL: View = View::new("till");

/// The module.
pub fn payments() -> Module {
    let ask_again = Retry::exponential(Duration::from_millis(20), Duration::from_millis(500)).attempts(6);
    let policy = killed_on_purpose().retry(ask_again).timeout(Duration::from_secs(5));
    Module::new("payments")
        .on(charge.with(Bank).durable("payments").policy(policy))
        .publishes::<PaymentCharged>()
        .publishes::<PaymentDeclined>()
        .view(TILL)
}

async fn charge(bank: Bank, reserved: On<StockReserved>, cx: Cx) -> Handled {
    let (order, line) = (reserved.order, reserved.line.clone());
    // An amount that cannot be written down will not be right the second time either.
    let cents = line.price_cents.checked_mul(line.quantity).permanent()?;
    // The key is the same in every attempt, so that the bank takes the money once, however often it is asked.
    let key = cx.effect_key("charge");
    let answer = bank.charge(&key, &reserved, cx.attempt()).await.transient()?;
    let till = cx.view(TILL);
    match answer {
        Answer::Charged => {
            till.add("total", "charged", 1);
            till.add("total", "charged_cents", i64::try_from(cents).permanent()?);
            cx.publish(PaymentCharged { order, cents, line });
        }
        Answer::Declined => {
            till.add("total", "declined", 1);
            cx.publish(PaymentDeclined { order, cents, line });
        }
    }
    Ok(())
}

/// The bank: a pretended one that answers at once, and always the same to the same question.
#[derive(Debug, Clone)]
struct Bank;

enum Answer {
    Charged,
    Declined,
}

#[derive(Debug, thiserror::Error)]
#[error("the bank does not answer")]
struct Unreachable;

impl Bank {
    async fn charge(&self, _key: &str, asked: &StockReserved, attempt: u32) -> Result<Answer, Unreachable> {
        // One order in fifty meets a line that is down; one in two hundred, twice.
        let silent = match asked.order {
            order if order % 200 == 111 => 2,
            order if order % 50 == 11 => 1,
            _ => 0,
        };
        if attempt <= silent {
            return Err(Unreachable);
        }
        // One customer in twenty has nothing left.
        if asked.customer % 20 == 13 { Ok(Answer::Declined) } else { Ok(Answer::Charged) }
    }
}
