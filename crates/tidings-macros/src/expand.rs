//! The code the macros write.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Data, DeriveInput, Error, Item, Member, Meta, Path, Result, ext::IdentExt, parse::Parser,
    punctuated::Punctuated, spanned::Spanned,
};

use crate::{
    options::{Given, Options},
    shape::{Field, Shape, is_mark},
};

/// `#[tidings::event(…)]`.
pub(crate) fn attribute(options: TokenStream, item: TokenStream) -> TokenStream {
    let item = match syn::parse2(item.clone()) {
        Ok(Item::Struct(item)) => DeriveInput::from(item),
        Ok(Item::Enum(item)) => DeriveInput::from(item),
        Ok(Item::Union(item)) => DeriveInput::from(item),
        Ok(other) => {
            let error = Error::new(other.span(), "an event is a struct or an enum").into_compile_error();
            return quote!(#item #error);
        }
        Err(error) => return error.into_compile_error(),
    };
    whole(options, &item).unwrap_or_else(|error| {
        // The type stays, so that this is the only complaint about it.
        let error = error.into_compile_error();
        let item = without(item, |attribute| is_mark(attribute) || attribute.path().is_ident("serde"));
        quote!(#item #error)
    })
}

/// `#[derive(Event)]`.
pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let code = || {
        let item: DeriveInput = syn::parse2(item)?;
        let mut given = Given::default();
        for attribute in item.attrs.iter().filter(|attribute| is_mark(attribute)) {
            attribute.parse_nested_meta(|meta| given.take(&meta))?;
        }
        let options = given.finish(item.ident.span())?;
        Ok(implementation(&options, &item, &Shape::of(&item)?))
    };
    code().unwrap_or_else(Error::into_compile_error)
}

fn whole(options: TokenStream, item: &DeriveInput) -> Result<TokenStream> {
    let mut given = Given::default();
    syn::meta::parser(|meta| given.take(&meta)).parse2(options)?;
    let options = given.finish(Span::call_site())?;
    let shape = Shape::of(item)?;
    refuse_derived(&item.attrs)?;
    if let Some(mark) = item.attrs.iter().find(|attribute| is_mark(attribute)) {
        return Err(Error::new_spanned(mark, "all options belong into one `#[tidings::event(…)]`"));
    }

    let root = &options.root;
    let serde = quote!(#root::__private::serde);
    let serde_path: String = serde.to_string().split_whitespace().collect();
    let implementation = implementation(&options, item, &shape);
    // A person would derive `Debug` where there is nothing to keep back.
    let redacts = shape.fields.iter().any(|field| field.marks.redact.is_some());
    let (derived, written) =
        if redacts { (None, Some(debug(item, &shape))) } else { (Some(quote!(::core::fmt::Debug,)), None) };
    // Our marks are no attributes the compiler knows.
    let item = without(item.clone(), is_mark);
    Ok(quote! {
        #[derive(#derived #serde::Serialize, #serde::Deserialize)]
        #[serde(crate = #serde_path)]
        #item
        #written
        #implementation
    })
}

/// The implementation of `Event`.
fn implementation(options: &Options, item: &DeriveInput, shape: &Shape) -> TokenStream {
    let Options { name, version, root } = options;
    let ident = &item.ident;
    let fields = shape.fields.iter().flat_map(|field| field_infos(root, field));
    let keys = shape.fields.iter().filter(|field| field.marks.key.is_some()).map(|field| {
        let value = value_of(field, |value| quote!(#root::Text::of(::core::format_args!("{}", #value))));
        let cfgs = &field.cfgs;
        quote! {
            #(#cfgs)*
            fn key(&self) -> ::core::option::Option<#root::Text> {
                #value
            }
        }
    });
    let tagged: Vec<&Field> = shape.fields.iter().filter(|field| field.marks.tag.is_some()).collect();
    let tags = tagged.iter().map(|field| {
        let name = field.written.clone().unwrap_or_else(|| member_name(&field.member));
        let text =
            value_of(field, |value| quote!(#root::Text::of(::core::format_args!("{}:{}", #name, #value))));
        let cfgs = &field.cfgs;
        quote!(#(#cfgs)* #text)
    });
    let tags = (!tagged.is_empty()).then(|| {
        quote! {
            fn tags(&self) -> ::std::vec::Vec<#root::Text> {
                ::core::iter::Iterator::collect(::core::iter::Iterator::flatten(
                    <[::core::option::Option<#root::Text>; _] as ::core::iter::IntoIterator>::into_iter([#(#tags),*]),
                ))
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #root::Event for #ident {
            const INFO: &'static #root::EventInfo = &#root::EventInfo {
                name: #name,
                version: #version,
                fields: &[#(#fields),*],
            };
            #(#keys)*
            #tags
        }
    }
}

/// What is known of a field. One that is redacted is known under every name it may have in a payload.
fn field_infos(root: &Path, field: &Field) -> Vec<TokenStream> {
    let cfgs = &field.cfgs;
    let info = |name: &String, key: bool, tag: bool, redact: bool| quote!(#(#cfgs)* #root::Field { name: #name, key: #key, tag: #tag, redact: #redact });
    let Some(written) = &field.written else { return Vec::new() };
    let redact = field.marks.redact.is_some();
    let mut all = vec![info(written, field.marks.key.is_some(), field.marks.tag.is_some(), redact)];
    if redact {
        all.extend(field.read.iter().map(|name| info(name, false, false, true)));
    }
    all
}

/// An `Option` of what `text` makes of the field's value. What is wrong with its type is shown at the field.
fn value_of(field: &Field, text: impl Fn(TokenStream) -> TokenStream) -> TokenStream {
    let at = Span::call_site().located_at(field.ty.span());
    let member = &field.member;
    if field.is_option() {
        let text = text(quote_spanned!(at=> value));
        quote_spanned!(at=> ::core::option::Option::map(self.#member.as_ref(), |value| #text))
    } else {
        let text = text(quote_spanned!(at=> &self.#member));
        quote_spanned!(at=> ::core::option::Option::Some(#text))
    }
}

/// A `Debug` that keeps redacted fields back.
fn debug(item: &DeriveInput, shape: &Shape) -> TokenStream {
    let ident = &item.ident;
    let name = ident.unraw().to_string();
    let begin = if shape.named { quote!(debug_struct) } else { quote!(debug_tuple) };
    let fields = shape.fields.iter().map(|field| {
        let at = Span::call_site().located_at(field.ty.span());
        let member = &field.member;
        let value = match field.marks.redact {
            Some(_) => quote!(&::core::format_args!("[redacted]")),
            None => quote_spanned!(at=> &self.#member),
        };
        let label = shape.named.then(|| member_name(member)).into_iter();
        let cfgs = &field.cfgs;
        quote!(#(#cfgs)* all.field(#(#label,)* #value);)
    });
    quote! {
        #[automatically_derived]
        impl ::core::fmt::Debug for #ident {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let mut all = f.#begin(#name);
                #(#fields)*
                all.finish()
            }
        }
    }
}

fn member_name(member: &Member) -> String {
    match member {
        Member::Named(ident) => ident.unraw().to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    }
}

/// A second derive of what the attribute derives would be an error that points nowhere.
fn refuse_derived(attributes: &[Attribute]) -> Result<()> {
    let derives = attributes.iter().filter(|attribute| attribute.path().is_ident("derive"));
    for derive in derives {
        let Meta::List(list) = &derive.meta else { continue };
        let traits = list.parse_args_with(Punctuated::<Path, syn::Token![,]>::parse_terminated)?;
        for path in traits {
            let Some(last) = path.segments.last() else { continue };
            if ["Debug", "Serialize", "Deserialize"].iter().any(|ours| last.ident == ours) {
                let message = format!(
                    "`#[tidings::event]` brings `{}` itself; leave it out here, or use `#[derive(Event)]`, which brings \
                     nothing else",
                    last.ident
                );
                return Err(Error::new(path.span(), message));
            }
        }
    }
    Ok(())
}

/// The item without some of its attributes.
fn without(mut item: DeriveInput, unwanted: impl Fn(&Attribute) -> bool) -> DeriveInput {
    let clean = |attributes: &mut Vec<Attribute>| attributes.retain(|attribute| !unwanted(attribute));
    clean(&mut item.attrs);
    match &mut item.data {
        Data::Struct(data) => data.fields.iter_mut().for_each(|field| clean(&mut field.attrs)),
        Data::Enum(data) => {
            for variant in &mut data.variants {
                clean(&mut variant.attrs);
                variant.fields.iter_mut().for_each(|field| clean(&mut field.attrs));
            }
        }
        Data::Union(data) => data.fields.named.iter_mut().for_each(|field| clean(&mut field.attrs)),
    }
    item
}
