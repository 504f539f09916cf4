//! How a handler says that it failed, and whether trying again can help.

use std::{any::Any, error::Error as StdError, fmt, sync::Arc, time::Duration};

/// Whether trying again can help. The one classification of errors in the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It may work later: a connection refused, a lock held, a service overloaded.
    Transient,
    /// It will never work with this event: it is invalid, or the answer was no.
    Permanent,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        })
    }
}

/// Why a handler failed.
///
/// There is deliberately no conversion from foreign errors: whoever writes the handler says with
/// [`transient`](OrFail::transient) or [`permanent`](OrFail::permanent) whether trying again can help, or `?` does not
/// compile.
///
/// ```
/// use tidings_core::{Handled, OrFail};
/// fn amount(text: &str) -> Handled<u64> {
///     Ok(text.parse::<u64>().permanent()?)
/// }
/// assert!(amount("ten").unwrap_err().is_permanent());
/// ```
#[derive(Clone)]
pub struct Failure {
    kind: Kind,
    wish: Option<Wish>,
    message: Arc<str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What a handler wants done with a delivery that it did not handle, instead of what its policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Try again after this time. It counts as an attempt.
    Again(Duration),
    /// Not now: come back after this time. It does not count as an attempt.
    Later(Duration),
}

/// What a handler returns.
pub type Handled<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure that trying again may cure.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: Kind::Transient, wish: None, message: message.into().into(), source: None }
    }

    /// A failure after which the delivery is tried again after `wait`, whatever wait the policy has; its attempts are
    /// counted as ever.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_core::{Failure, Wish};
    /// let busy = Failure::again(Duration::from_secs(5), "the printer is warming up");
    /// assert_eq!(busy.wish(), Some(Wish::Again(Duration::from_secs(5))));
    /// assert!(!busy.is_permanent());
    /// ```
    pub fn again(wait: Duration, message: impl Into<String>) -> Self {
        Self { wish: Some(Wish::Again(wait)), ..Self::transient(message) }
    }

    /// Puts the delivery off by `wait`: it was not its time. This counts neither as an attempt nor against a circuit
    /// breaker; events with the same key wait behind it.
    pub fn later(wait: Duration, message: impl Into<String>) -> Self {
        Self { wish: Some(Wish::Later(wait)), ..Self::transient(message) }
    }

    /// A failure that trying again cannot cure.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: Kind::Permanent, wish: None, message: message.into().into(), source: None }
    }

    /// A failure of `kind` because of `source`, whose text becomes the message.
    pub fn of(kind: Kind, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind, wish: None, message: source.to_string().into(), source: Some(Arc::new(source)) }
    }

    /// The failure of a handler that panicked, with what it said. A panic is a failed attempt, so it is transient.
    pub fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::transient(format!("the handler panicked: {}", text.unwrap_or("no message")))
    }

    /// What the handler wants done instead of what its policy says.
    pub fn wish(&self) -> Option<Wish> {
        self.wish
    }

    /// Whether trying again can help.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        self.kind == Kind::Permanent
    }

    /// What went wrong, with the messages of the causes behind it.
    pub fn describe(&self) -> String {
        let mut text = self.message.to_string();
        let mut cause = self.source.as_deref().and_then(|source| source.source());
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failure: {}", self.kind, self.describe())
    }
}

/// Says of a foreign error whether trying again can help.
pub trait OrFail<T> {
    /// Trying again may help.
    ///
    /// # Errors
    /// The error, as a transient failure.
    fn transient(self) -> Handled<T>;

    /// Trying again cannot help.
    ///
    /// # Errors
    /// The error, as a permanent failure.
    fn permanent(self) -> Handled<T>;
}

impl<T, E: StdError + Send + Sync + 'static> OrFail<T> for Result<T, E> {
    fn transient(self) -> Handled<T> {
        self.map_err(|error| Failure::of(Kind::Transient, error))
    }

    fn permanent(self) -> Handled<T> {
        self.map_err(|error| Failure::of(Kind::Permanent, error))
    }
}

impl<T> OrFail<T> for Option<T> {
    fn transient(self) -> Handled<T> {
        self.ok_or_else(|| Failure::transient("a value that was expected is not there"))
    }

    fn permanent(self) -> Handled<T> {
        self.ok_or_else(|| Failure::permanent("a value that was expected is not there"))
    }
}

/// What a handler may return: nothing, or a [`Handled`].
pub trait IntoHandled: Send {
    /// As a [`Handled`].
    ///
    /// # Errors
    /// The failure, if it is one.
    fn into_handled(self) -> Handled;
}

impl IntoHandled for () {
    fn into_handled(self) -> Handled {
        Ok(())
    }
}

impl IntoHandled for Handled {
    fn into_handled(self) -> Handled {
        self
    }
}
