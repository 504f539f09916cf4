//! The type an event is made of, and what its fields are marked with.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, Index, Member, Meta, Result, Type, ext::IdentExt,
    meta::ParseNestedMeta, spanned::Spanned,
};

use crate::serde_names::SerdeNames;

/// The fields of an event, checked. An enum has none.
pub(crate) struct Shape {
    pub(crate) fields: Vec<Field>,
    /// Whether the fields have names.
    pub(crate) named: bool,
}

/// One field.
pub(crate) struct Field {
    /// How the field is reached: by name or by index.
    pub(crate) member: Member,
    pub(crate) ty: Type,
    /// The `cfg` attributes on which it depends.
    pub(crate) cfgs: Vec<Attribute>,
    /// The name under which serde writes it; `None` when it does not.
    pub(crate) written: Option<String>,
    /// Other names under which serde reads it.
    pub(crate) read: Vec<String>,
    pub(crate) marks: Marks,
}

/// What a field is marked with, and where.
#[derive(Default, Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) key: Option<Span>,
    pub(crate) tag: Option<Span>,
    pub(crate) redact: Option<Span>,
}

impl Shape {
    /// Looks at a type.
    ///
    /// # Errors
    /// Everything that keeps it from being an event.
    pub(crate) fn of(item: &DeriveInput) -> Result<Self> {
        if !item.generics.params.is_empty() {
            let message = "an event is one type with one name: it cannot have parameters";
            return Err(Error::new_spanned(&item.generics.params, message));
        }
        let fields = match &item.data {
            Data::Struct(data) => &data.fields,
            Data::Enum(data) => {
                let marked = data.variants.iter().find_map(|variant| {
                    let fields = variant.fields.iter().flat_map(|field| &field.attrs);
                    variant.attrs.iter().chain(fields).find(|attribute| is_mark(attribute))
                });
                return match marked {
                    None => Ok(Self { fields: Vec::new(), named: false }),
                    Some(mark) => Err(Error::new_spanned(
                        mark,
                        "nothing in an enum can be marked, for its variants have no field in common; make each \
                         variant an event of its own to give it a key",
                    )),
                };
            }
            Data::Union(data) => {
                return Err(Error::new(
                    data.union_token.span(),
                    "an event is a struct or an enum, not a union",
                ));
            }
        };
        let names = SerdeNames::of(&item.attrs);
        let mut faults = Faults::default();
        let mut all: Vec<Field> = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            match Field::of(index, field, &names) {
                Ok(field) => all.push(field),
                Err(fault) => faults.add(fault),
            }
        }
        let shape = Self { fields: all, named: matches!(fields, Fields::Named(_)) };
        shape.check(&names, &mut faults);
        faults.or(shape)
    }

    /// What is wrong with the fields together.
    fn check(&self, names: &SerdeNames, faults: &mut Faults) {
        // Keys that all depend on the configuration may exclude each other; if not, the compiler finds two `key`s.
        let keys: Vec<&Field> = self.fields.iter().filter(|field| field.marks.key.is_some()).collect();
        if keys.iter().any(|key| key.cfgs.is_empty()) {
            for again in keys.iter().skip(1).filter_map(|key| key.marks.key) {
                let first = keys[0].member.to_token_stream();
                faults.add(Error::new(again, format!("an event has one key, and `{first}` is it already")));
            }
        }
        // Redaction finds fields in a payload by their names, so they must be there under them.
        let newtype = !self.named && self.fields.len() == 1;
        let hidden = match names.hides_names {
            Some(attribute) => Some(format!("with `#[serde({attribute})]` its name is not in the payload")),
            None if newtype => {
                Some("a struct around one field is written without it; give the field a name".into())
            }
            None => None,
        };
        for redact in self.fields.iter().filter_map(|field| field.marks.redact) {
            if let Some(why) = &hidden {
                faults.add(Error::new(redact, format!("this field cannot be redacted: {why}")));
            }
        }
    }
}

impl Field {
    fn of(index: usize, field: &syn::Field, names: &SerdeNames) -> Result<Self> {
        let (member, name) = match &field.ident {
            Some(ident) => (Member::Named(ident.clone()), ident.unraw().to_string()),
            None => (Member::Unnamed(Index::from(index)), index.to_string()),
        };
        let own = SerdeNames::of(&field.attrs);
        let marks = Marks::of(&field.attrs)?;
        if let (Some(redact), Some(attribute)) = (marks.redact, own.hides_names) {
            let message = format!(
                "this field cannot be redacted: with `#[serde({attribute})]` its name is not in the payload"
            );
            return Err(Error::new(redact, message));
        }
        let written = names.written(&name, &own);
        let mut read = names.read(&name, &own);
        read.retain(|name| *name != written);
        Ok(Self {
            member,
            ty: field.ty.clone(),
            cfgs: field.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned().collect(),
            written: (!own.skipped).then_some(written),
            read,
            marks,
        })
    }

    /// Whether its type is written as an `Option`.
    pub(crate) fn is_option(&self) -> bool {
        match &self.ty {
            Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Option"),
            _ => false,
        }
    }
}

impl Marks {
    fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut marks = Self::default();
        for attribute in attributes.iter().filter(|attribute| is_mark(attribute)) {
            if let Meta::List(_) = &attribute.meta {
                attribute.parse_nested_meta(|meta| marks.take(&meta))?;
            } else {
                return Err(Error::new_spanned(attribute, "say what the field is: `key`, `tag` or `redact`"));
            }
        }
        match (marks.redact, marks.key.or(marks.tag)) {
            (Some(redact), Some(_)) => Err(Error::new(
                redact,
                "keys and tags are shown wherever an event is listed, so a field that is one cannot be redacted",
            )),
            _ => Ok(marks),
        }
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let mark = if meta.path.is_ident("key") {
            &mut self.key
        } else if meta.path.is_ident("tag") {
            &mut self.tag
        } else if meta.path.is_ident("redact") {
            &mut self.redact
        } else {
            return Err(meta.error("there is no such mark: a field can be a `key`, a `tag` or `redact`ed"));
        };
        if mark.replace(meta.path.span()).is_some() {
            return Err(meta.error("this mark is there twice"));
        }
        if !meta.input.is_empty() && !meta.input.peek(syn::Token![,]) {
            return Err(meta.error("this mark takes no value"));
        }
        Ok(())
    }
}

/// Whether it is one of ours, `#[event(…)]`.
pub(crate) fn is_mark(attribute: &Attribute) -> bool {
    attribute.path().is_ident("event")
}

/// Collects faults, so that all are shown at once.
#[derive(Default)]
struct Faults(Option<Error>);

impl Faults {
    fn add(&mut self, fault: Error) {
        match &mut self.0 {
            Some(faults) => faults.combine(fault),
            None => self.0 = Some(fault),
        }
    }

    fn or<T>(self, value: T) -> Result<T> {
        self.0.map_or(Ok(value), Err)
    }
}
