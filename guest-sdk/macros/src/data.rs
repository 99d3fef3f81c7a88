//! `#[data]`: three derives that need no dependency of their own.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !options.is_empty() {
        return Err(Error::new_spanned(options, "`#[data]` takes no options; use `#[serde(…)]` below it"));
    }
    let item: DeriveInput = syn::parse2(item)?;
    Ok(quote! {
        #[derive(
            ::hostler_guest::serde::Serialize,
            ::hostler_guest::serde::Deserialize,
            ::hostler_guest::schemars::JsonSchema,
        )]
        #[serde(crate = "::hostler_guest::serde")]
        #[schemars(crate = "::hostler_guest::schemars")]
        #item
    })
}
