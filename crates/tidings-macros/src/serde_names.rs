//! Under which names serde writes and reads fields, as far as its attributes say so.
//!
//! An attribute that cannot be understood is passed over: serde itself complains about it, and better.

use syn::{Attribute, LitStr, Result, Token, meta::ParseNestedMeta, parse::ParseStream, token::Paren};

/// What serde's attributes on a type or a field say.
#[derive(Default)]
pub(crate) struct SerdeNames {
    /// `rename`, for writing and for reading.
    rename: Both,
    /// `rename_all`, for writing and for reading.
    rename_all: Both,
    /// Other names under which it is read.
    aliases: Vec<String>,
    /// It is neither written nor read.
    pub(crate) skipped: bool,
    /// The attribute because of which fields cannot be found by their names in what is written.
    pub(crate) hides_names: Option<&'static str>,
}

#[derive(Default)]
struct Both {
    writing: Option<String>,
    reading: Option<String>,
}

impl SerdeNames {
    /// Reads the attributes of a type or a field.
    pub(crate) fn of(attributes: &[Attribute]) -> Self {
        let mut names = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            let _ = attribute.parse_nested_meta(|meta| names.take(&meta));
        }
        names
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let hiding = ["flatten", "transparent", "into", "from", "try_from"];
        if meta.path.is_ident("rename") {
            self.rename.take(meta)
        } else if meta.path.is_ident("rename_all") {
            self.rename_all.take(meta)
        } else if meta.path.is_ident("alias") {
            self.aliases.push(meta.value()?.parse::<LitStr>()?.value());
            Ok(())
        } else {
            self.skipped |= meta.path.is_ident("skip");
            self.hides_names =
                self.hides_names.or_else(|| hiding.into_iter().find(|name| meta.path.is_ident(name)));
            pass_over(meta.input)
        }
    }

    /// The name under which serde writes the field `field` of a type whose own attributes are `self`.
    pub(crate) fn written(&self, field: &str, attributes: &Self) -> String {
        attributes.rename.writing.clone().unwrap_or_else(|| apply(self.rename_all.writing.as_deref(), field))
    }

    /// Every name under which serde reads it.
    pub(crate) fn read(&self, field: &str, attributes: &Self) -> Vec<String> {
        let own = attributes.rename.reading.clone();
        let mut names = attributes.aliases.clone();
        names.push(own.unwrap_or_else(|| apply(self.rename_all.reading.as_deref(), field)));
        names
    }
}

impl Both {
    /// Takes `= "name"` or `(serialize = "name", deserialize = "name")`.
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if !meta.input.peek(Paren) {
            let name = meta.value()?.parse::<LitStr>()?.value();
            (self.writing, self.reading) = (Some(name.clone()), Some(name));
            return Ok(());
        }
        meta.parse_nested_meta(|meta| {
            let name = meta.value()?.parse::<LitStr>()?.value();
            if meta.path.is_ident("serialize") {
                self.writing = Some(name);
            } else {
                self.reading = Some(name);
            }
            Ok(())
        })
    }
}

/// Passes over the value of an attribute, if it has one.
fn pass_over(input: ParseStream<'_>) -> Result<()> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        input.parse::<syn::Expr>()?;
    } else if input.peek(Paren) {
        let inside;
        syn::parenthesized!(inside in input);
        inside.parse::<proc_macro2::TokenStream>()?;
    }
    Ok(())
}

/// A field's name by one of serde's rules for `rename_all`.
fn apply(rule: Option<&str>, field: &str) -> String {
    let pascal = || -> String {
        field
            .split('_')
            .flat_map(|word| {
                let mut chars = word.chars();
                chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars)
            })
            .collect()
    };
    match rule {
        Some("UPPERCASE" | "SCREAMING_SNAKE_CASE") => field.to_ascii_uppercase(),
        Some("kebab-case") => field.replace('_', "-"),
        Some("SCREAMING-KEBAB-CASE") => field.to_ascii_uppercase().replace('_', "-"),
        Some("PascalCase") => pascal(),
        Some("camelCase") => {
            let pascal = pascal();
            let mut chars = pascal.chars();
            chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
        }
        _ => field.to_owned(),
    }
}
