//! What is written in the parentheses of the attribute: name, version and where the platform's words are.

use proc_macro2::Span;
use syn::{Error, LitInt, LitStr, Path, Result, meta::ParseNestedMeta, parse_quote};

use crate::name;

const NAME_MISSING: &str =
    "an event needs a name, such as `name = \"order.placed\"`: it never comes from the Rust type";

/// The options of an event, checked.
pub(crate) struct Options {
    pub(crate) name: String,
    pub(crate) version: u32,
    /// The path below which the platform's words are.
    pub(crate) root: Path,
}

/// The options as they come in.
#[derive(Default)]
pub(crate) struct Given {
    name: Option<String>,
    version: Option<u32>,
    root: Option<Path>,
}

impl Given {
    /// Takes the next option.
    pub(crate) fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let path = &meta.path;
        let again = if path.is_ident("name") {
            self.name.replace(named(&meta.value()?.parse()?)?).is_some()
        } else if path.is_ident("version") {
            self.version.replace(versioned(&meta.value()?.parse()?)?).is_some()
        } else if path.is_ident("crate") {
            self.root.replace(meta.value()?.parse::<LitStr>()?.parse()?).is_some()
        } else if path.is_ident("key") || path.is_ident("tag") || path.is_ident("redact") {
            return Err(meta.error("this marks a field; an event has a `name`, a `version` and a `crate`"));
        } else {
            return Err(meta.error("an event has no such option, only a `name`, a `version` and a `crate`"));
        };
        if again { Err(meta.error("this option is there twice")) } else { Ok(()) }
    }

    /// The options, or what is missing; `at` is where it would have to be written.
    pub(crate) fn finish(self, at: Span) -> Result<Options> {
        Ok(Options {
            name: self.name.ok_or_else(|| Error::new(at, NAME_MISSING))?,
            version: self.version.unwrap_or(1),
            root: self.root.unwrap_or_else(|| parse_quote!(::tidings)),
        })
    }
}

fn named(literal: &LitStr) -> Result<String> {
    let text = literal.value();
    match name::check(&text) {
        Ok(()) => Ok(text),
        Err((problem, column)) => {
            let shown: String = text.chars().take(64).collect();
            let message = format!(
                "{shown:?} is no name for an event: {problem}, at column {column}; a name is words joined by dots, \
                 such as \"order.placed\""
            );
            Err(Error::new(literal.span(), message))
        }
    }
}

fn versioned(literal: &LitInt) -> Result<u32> {
    match literal.base10_parse()? {
        0 => Err(Error::new(literal.span(), "versions of an event count from 1")),
        version => Ok(version),
    }
}
